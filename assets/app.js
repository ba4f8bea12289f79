// Behaviour of the page that Gradio has no component for: tables and star lists that report a
// row's own id, the pair in the address, the drawer on phones, and the three maps.
window.ckf = (() => {
  const PAIR_FIELDS = ["user", "rated", "taste", "age", "occupation", "item", "at"];

  function setAddress(change) {
    const address = new URL(window.location.href);
    change(address.searchParams);
    window.history.replaceState(window.history.state, "", address);
  }

  // Write the pair into the address, leaving other fields (tab, theme) as they are.
  function address(query) {
    setAddress((fields) => {
      PAIR_FIELDS.forEach((name) => fields.delete(name));
      new URLSearchParams(query).forEach((value, name) => fields.set(name, value));
    });
  }

  function tab(name) {
    // The first tab announces itself while the page is built, before the address has been read.
    if (document.body.dataset.ckf !== "ready") return;
    setAddress((fields) => fields.set("tab", name));
    // Plots that were laid out while their tab was hidden measure themselves again.
    window.dispatchEvent(new Event("resize"));
  }

  function isPhone() {
    return window.matchMedia("(max-width: 768px)").matches;
  }

  // On a phone the sidebar covers the page: it starts closed, and closes after a choice.
  function closeDrawer() {
    const sidebar = document.querySelector(".sidebar.open");
    if (isPhone() && sidebar) sidebar.querySelector(".toggle-button").click();
  }

  // Called once the page's events are bound.
  function start() {
    closeDrawer();
    document.body.dataset.ckf = "ready";
  }

  function openDrawer() {
    const sidebar = document.querySelector(".sidebar");
    if (sidebar && !sidebar.classList.contains("open")) {
      sidebar.querySelector(".toggle-button").click();
    }
  }

  function sortBy(button) {
    const head = button.closest("th");
    const place = [...head.parentElement.children].indexOf(head);
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    const body = head.closest("table").tBodies[0];
    const key = (row) => row.cells[place].dataset.sort;
    const rows = [...body.rows];
    const numeric = rows.every((row) => key(row) === "" || !Number.isNaN(Number(key(row))));
    rows.sort((one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = numeric ? Number(a) - Number(b) : a.localeCompare(b);
      return ascending ? order : -order;
    });
    body.append(...rows);
    [...head.parentElement.children].forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  }

  function jump(anchor) {
    const row = document.getElementById(anchor);
    if (!row) return;
    row.scrollIntoView({ block: "nearest" });
    row.classList.remove("ckf-flash");
    void row.offsetWidth; // restarts the animation
    row.classList.add("ckf-flash");
    row.querySelector("button")?.focus({ preventScroll: true });
  }

  function table(element, send) {
    element.addEventListener("click", (event) => {
      const link = event.target.closest("[data-jump]");
      if (link) {
        event.preventDefault();
        jump(link.dataset.jump);
        return;
      }
      const sort = event.target.closest(".ckf-sort");
      if (sort) {
        sortBy(sort);
        return;
      }
      const chosen = event.target.closest("[data-pick]");
      if (chosen) {
        const { pick, rating = null, remove = null } = chosen.dataset;
        send({ pick, rating, remove });
      }
    });
  }

  // --- maps ---------------------------------------------------------------------------------

  const GRID = "rgba(128, 128, 128, 0.22)";
  const SVG_SHAPES = {
    circle: '<circle cx="8" cy="8" r="5"/>',
    square: '<rect x="3" y="3" width="10" height="10"/>',
    diamond: '<path d="M8 2 L14 8 L8 14 L2 8 Z"/>',
    "triangle-up": '<path d="M8 3 L14 13 L2 13 Z"/>',
    "triangle-down": '<path d="M8 13 L14 3 L2 3 Z"/>',
    cross: '<path d="M6 2h4v4h4v4h-4v4h-4v-4h-4v-4h4z"/>',
    x: '<path d="M4 2 L8 6 L12 2 L14 4 L10 8 L14 12 L12 14 L8 10 L4 14 L2 12 L6 8 L2 4 Z"/>',
  };

  function traces(data, view, ink, paper) {
    const at = (places) => ({
      x: places.map((place) => view.points[place][0]),
      y: places.map((place) => view.points[place][1]),
      customdata: places.map((place) => data.items[place]),
      text: places.map((place) => data.hover[place]),
      hovertemplate: "%{text}<extra></extra>",
      type: "scatter",
      mode: "markers",
      showlegend: false,
    });
    const drawn = data.genres.map((genre, number) => {
      const places = [...data.genre.keys()].filter((place) => data.genre[place] === number);
      return {
        ...at(places),
        name: genre.name,
        marker: { color: genre.colour, symbol: genre.shape, size: 6, opacity: 0.5 },
      };
    });
    const shapes = data.history.map((place) => data.genres[data.genre[place]].shape);
    drawn.push({
      ...at(data.history),
      name: "history",
      marker: { color: ink, symbol: shapes, size: 10, line: { color: paper, width: 1 } },
    });
    drawn.push({
      ...at(data.recommended),
      name: "recommended",
      marker: { color: ink, symbol: "circle-open", size: 15, line: { width: 2 } },
    });
    drawn.push({
      ...at([data.selected]),
      name: "chosen film",
      marker: { color: "#D55E00", symbol: "cross-thin-open", size: 20, line: { width: 3 } },
    });
    if (view.person) {
      drawn.push({
        x: [view.person[0]],
        y: [view.person[1]],
        hovertemplate: "This person’s token<extra></extra>",
        type: "scatter",
        mode: "markers",
        showlegend: false,
        name: "person",
        marker: { color: "#D55E00", symbol: "star", size: 14, line: { color: paper, width: 1 } },
      });
    }
    return drawn;
  }

  function legend(element, data) {
    const shape = (body, style) =>
      `<svg class="ckf-mark" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" ` +
      `style="${style}">${body}</svg>`;
    const list = element.querySelector(".ckf-genres");
    list.replaceChildren(
      ...data.genres.map((genre) => {
        const entry = document.createElement("li");
        entry.innerHTML = shape(SVG_SHAPES[genre.shape], `fill:${genre.colour}`);
        entry.append(genre.name);
        return entry;
      }),
    );
  }

  function maps(element, read, choose) {
    const plots = [...element.querySelectorAll(".ckf-map")];
    let shown = "";

    function draw() {
      const value = read();
      // A hidden tab has no width yet; the observer below calls again when it has one.
      if (!value || !window.Plotly || !plots[0].offsetWidth) return;
      const ink = getComputedStyle(element).color;
      if (shown === value + ink) return;
      shown = value + ink;
      const data = JSON.parse(value);
      const paper = document.body.classList.contains("dark") ? "#0f172a" : "#ffffff";
      legend(element, data);
      const axis = {
        showticklabels: false,
        ticks: "",
        zeroline: false,
        gridcolor: GRID,
        automargin: false,
      };
      plots.forEach((plot) => {
        const layout = {
          margin: { l: 4, r: 4, t: 4, b: 4 },
          paper_bgcolor: "rgba(0,0,0,0)",
          plot_bgcolor: "rgba(0,0,0,0)",
          font: { color: ink },
          xaxis: { ...axis },
          yaxis: { ...axis },
          hovermode: "closest",
          hoverlabel: { align: "left" },
          dragmode: "pan",
          autosize: true,
          uirevision: plot.dataset.space,
        };
        const options = { responsive: true, displaylogo: false, displayModeBar: false };
        const view = data.spaces[plot.dataset.space];
        window.Plotly.react(plot, traces(data, view, ink, paper), layout, options);
        if (plot.dataset.bound) return;
        plot.dataset.bound = "1";
        plot.on("plotly_click", ({ points }) => {
          if (points[0].customdata) choose(points[0].customdata);
        });
        // The three maps highlight the same film together.
        plot.on("plotly_hover", ({ event, points }) => {
          if (!event || !points[0].customdata) return;
          const same = { curveNumber: points[0].curveNumber, pointNumber: points[0].pointNumber };
          plots.filter((other) => other !== plot).forEach((other) => {
            window.Plotly.Fx.hover(other, [same]);
          });
        });
        plot.on("plotly_unhover", () => {
          plots.filter((other) => other !== plot).forEach((other) => {
            window.Plotly.Fx.unhover(other);
          });
        });
      });
    }

    element.addEventListener("ckf-draw", draw);
    new ResizeObserver(() => {
      draw();
      if (shown) plots.forEach((plot) => plot.offsetWidth && window.Plotly.Plots.resize(plot));
    }).observe(plots[0]);
    draw();
  }

  return { address, tab, table, maps, start, closeDrawer, openDrawer };
})();
