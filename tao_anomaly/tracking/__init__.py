"""From the boxes of single images to objects with an identity."""
