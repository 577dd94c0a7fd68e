// What can be scrolled sideways can be reached with the keyboard.
document.querySelectorAll("pre > code, .md-typeset__scrollwrap").forEach((region) => { region.tabIndex = 0 })
