"use strict";
// Tables are sorted by their headings, which are buttons, and filtered by words. Without scripts they are read as they are.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const first = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const next = now === null ? "ascending" : now === "ascending" ? "descending" : null;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      if (next === null) { body.append(...first); return; }
      heading.setAttribute("aria-sort", next);
      const key = (row) => row.cells[column].dataset.sort;
      const numeric = first.every((row) => key(row) === "" || !Number.isNaN(Number(key(row))));
      const sign = next === "ascending" ? 1 : -1;
      body.append(...[...first].sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        // What has no number stays at the end.
        if (a === "" || b === "") return (a === "") - (b === "");
        return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true }));
      }));
    });
  });
}
for (const input of document.querySelectorAll("input[data-table]")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const count = input.closest(".table").querySelector(".count");
  input.addEventListener("input", () => {
    const word = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(word);
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = word ? `${shown} of ${rows.length} rows` : "";
  });
}
// Paper can't be opened.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
