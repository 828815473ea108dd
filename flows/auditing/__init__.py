"""Parts of the stage ``audit``: copies in every part of the real set, and what was found in words."""
