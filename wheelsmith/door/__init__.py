"""The rooms behind the front door: what `wheelsmith` exports, by what it is about. Import from `wheelsmith`."""
