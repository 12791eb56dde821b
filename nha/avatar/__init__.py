"""The avatar: from head parameters to a picture, and how it is stored."""
