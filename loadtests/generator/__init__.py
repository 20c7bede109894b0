"""The locust side: importing most of it patches the standard library, so it belongs into a process of its own."""
