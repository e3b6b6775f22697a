"use strict";

/* Charts: the picture in the page gives way to the interactive chart once it is near the screen. */
(() => {
  const views = [];
  let picked = "";

  const highlight = (view) => {
    try {
      view.signal("highlight", picked).runAsync();
    } catch {
      // This chart has no models to pick out.
    }
  };

  const draw = async (figure) => {
    const spec = JSON.parse(document.getElementById(figure.dataset.chart).textContent);
    const drawing = figure.querySelector(".drawing");
    const place = document.createElement("div");
    place.className = "drawn";
    place.setAttribute("aria-hidden", "true");
    spec.width = "container";
    drawing.append(place);
    const still = drawing.querySelector("svg");
    still.style.display = "none";
    try {
      const { view } = await vegaEmbed(place, spec, {
        mode: "vega-lite",
        renderer: "svg",
        actions: false,
        ast: true,
        defaultStyle: false,
        logLevel: 1, // errors; a warning about a chart says nothing to its reader
        tooltip: { disableDefaultStyle: true },
      });
      views.push(view);
      highlight(view);
      still.remove();
    } catch (error) {
      place.remove();
      still.style.display = "";
      console.error(error);
    }
  };

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        observer.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "600px" });
  document.querySelectorAll("figure[data-chart]").forEach((figure) => observer.observe(figure));

  document.querySelectorAll(".legend button").forEach((button) => {
    button.addEventListener("click", () => {
      picked = picked === button.dataset.look ? "" : button.dataset.look;
      document.querySelectorAll(".legend button").forEach((each) => {
        each.setAttribute("aria-pressed", String(each.dataset.look === picked));
      });
      views.forEach(highlight);
    });
  });
})();

/* Tables: a button in each column head sorts by it; missing values stay last, claims at the foot. */
(() => {
  const status = document.getElementById("status");

  const keyOf = (row, place) => {
    const cell = row.cells[place];
    const text = cell.dataset.value ?? cell.textContent.trim();
    if (text === "" || text === "—") return null;
    return text;
  };

  const compare = (a, b) => {
    const numbers = [Number(a), Number(b)];
    if (numbers.every((number) => !Number.isNaN(number))) return numbers[0] - numbers[1];
    return a.localeCompare(b);
  };

  const sort = (table, place, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [keyOf(row, place), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return direction * compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
  };

  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const first = head.classList.contains("number") && place > 0 ? "descending" : "ascending";
        const other = first === "descending" ? "ascending" : "descending";
        const next = before === first ? other : first;
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", next);
        sort(table, place, next === "ascending" ? 1 : -1);
        status.textContent = `Sorted by ${button.textContent}, ${next}`;
      });
    });
  });
})();

/* Theme: the system's, until the button is pressed. */
(() => {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : system.matches;
  };
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
})();

/* A figure that is linked to may lie in a closed part. */
addEventListener("hashchange", () => {
  const target = document.getElementById(location.hash.slice(1));
  const closed = target?.closest("details") ?? target?.querySelector("details");
  if (closed) closed.open = true;
  target?.scrollIntoView();
});
