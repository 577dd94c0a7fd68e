// Code that can be scrolled sideways can be reached with the keyboard; the theme takes that away from what is not in view.
const reachable = (region) => { if (!region.hasAttribute("tabindex")) region.tabIndex = 0 }
document.querySelectorAll("pre > code").forEach((region) => {
  reachable(region)
  new MutationObserver(() => reachable(region)).observe(region, { attributes: true, attributeFilter: ["tabindex"] })
})
