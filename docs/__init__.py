"""Documentation, and the scripts that write its figures and screenshots."""
