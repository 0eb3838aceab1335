//! Examples too fine for the page.
