"""Pages that a person looks at: self-contained HTML, made from the values of other rooms. Nothing fails."""
