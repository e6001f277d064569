"""What a page owes to those who use it by ear, by keyboard or with weak eyes: serious rules of axe-core, as a script.

Text is checked against the first background behind it that is not transparent, with the contrast of WCAG 2.1, AA.
"""

from support.browser import Page

__all__ = ["faults_of"]

_SCRIPT = """
(() => {
  const faults = [];
  const say = (rule, node) => faults.push(`${rule}: ${(node.outerHTML || "").slice(0, 120)}`);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const name = (node) => (node.getAttribute("aria-label") || node.textContent || "").trim()
    || (node.labels && node.labels.length ? node.labels[0].textContent.trim() : "");
  if (!document.documentElement.lang) say("html-has-lang", document.documentElement);
  if (!document.title.trim()) say("document-title", document.head);
  if (all("main").length !== 1) say("landmark-one-main", document.body);
  if (all("h1").length !== 1) say("one h1", document.body);
  const ids = all("[id]").map((node) => node.id);
  ids.filter((id, place) => ids.indexOf(id) !== place).forEach((id) => faults.push(`duplicate-id: ${id}`));
  all("[aria-labelledby]").forEach((node) => {
    if (!document.getElementById(node.getAttribute("aria-labelledby"))) say("aria", node);
  });
  all("img").forEach((node) => node.hasAttribute("alt") || say("image-alt", node));
  all("svg").forEach((node) => {
    if (node.getAttribute("role") !== "img" || !node.getAttribute("aria-label")) say("svg-img-alt", node);
  });
  all("button, a[href], input, summary, [role=region]").forEach((node) => name(node) || say("no name", node));
  all("a[href^='#']").forEach((node) => document.getElementById(node.hash.slice(1)) || say("skip-link", node));
  all("th").forEach((node) => (node.scope && node.textContent.trim()) || say("th", node));
  const regions = all("[role=region]").map(name);
  regions.filter((text, place) => regions.indexOf(text) !== place).forEach((text) => faults.push(`twice: ${text}`));
  all("table").forEach((node) => node.caption || say("table without caption", node));
  let level = 0;
  all("h1, h2, h3, h4").forEach((node) => {
    const next = Number(node.tagName[1]);
    if (next > level + 1) say("heading-order", node);
    level = next;
  });
  all("*").forEach((node) => {
    const style = getComputedStyle(node);
    if (["auto", "scroll"].includes(style.overflowX) && node.scrollWidth > node.clientWidth && node.tabIndex < 0) {
      say("scrollable-region-focusable", node);
    }
  });
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const backdrop = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = (colour) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const seen = new Set();
  all("body *").forEach((node) => {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || ["SCRIPT", "STYLE"].includes(node.tagName)) return;
    const style = getComputedStyle(node);
    const ink = node.closest("svg") ? style.fill : style.color;
    if (ink === "none") return;
    const behind = backdrop(node);
    const [one, other] = [light(over(rgba(ink), behind)), light(behind)].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    const key = `${ink} ${behind}`;
    if (ratio < 4.5 && !seen.has(key)) { seen.add(key); say(`color-contrast ${ratio.toFixed(2)}`, node); }
  });
  return faults;
})()
"""


def faults_of(page: Page) -> list[str]:
    """Return what is wrong with the page that a tab shows, in the colours that it has."""
    found: list[str] = page.value(_SCRIPT)
    return found
