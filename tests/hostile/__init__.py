"""What somebody who means harm, or a broken peer, may send: and what stays right meanwhile."""
