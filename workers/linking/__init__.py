"""From a delivery to a link: apply, claim, link, save."""
