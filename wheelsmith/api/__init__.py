"""The rooms behind the API: what `wheelsmith` exports, by what it is about. Import from `wheelsmith`."""
