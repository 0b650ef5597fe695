// Both work without this: commands are selected whole by a click, and the server answers the search.
for (const code of document.querySelectorAll("pre.command")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy the commands");
  button.addEventListener("click", async () => {
    const lines = [...code.querySelectorAll("code")].map((line) => line.textContent);
    try {
      await navigator.clipboard.writeText(lines.join("\n"));
      button.textContent = "Copied";
    } catch {  // no permission, or no https: select them, so that a key copies them
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  code.before(button);
}
const field = document.querySelector("#q");
if (field) {
  const lines = [...document.querySelectorAll("#projects > li")];
  const found = document.querySelector("#found");
  const before = found.innerHTML;
  field.form.hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const line of lines) {
      const text = line.textContent.toLowerCase();
      line.hidden = !words.every((word) => text.includes(word));
      count += line.hidden ? 0 : 1;
    }
    if (words.length) { found.textContent = `${count} of the ${lines.length} listed here match.`; }
    else { found.innerHTML = before; }
  });
}
