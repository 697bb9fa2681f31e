"""Reading and writing of images, videos, bags and stored features."""
