"""Where programs written to jaf find its types."""
