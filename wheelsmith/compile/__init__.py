"""Run the PEP 517 backend at one canonical path, isolated as far as the machine allows, and resume where it stopped."""
