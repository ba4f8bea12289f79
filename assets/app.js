// Behaviour of the page that Gradio has no component for: tables and star lists that report a
// row's own id, the pair in the address, the drawer on phones, the three maps, and the dot plots.
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

  // --- dot plots ------------------------------------------------------------------------------

  const DOTS = {
    own: { symbol: "diamond", size: 12, colour: "--ckf-accent" },
    other: { symbol: "circle", size: 9, colour: "--ckf-muted" },
    sure: { symbol: "diamond", size: 12, colour: "--ckf-accent" },
    unsure: { symbol: "circle-open", size: 10, colour: "--body-text-color" },
  };

  function dotTrace(data, mark, style) {
    const { symbol, size, colour } = DOTS[mark];
    const color = style.getPropertyValue(colour).trim() || style.color;
    const places = [...data.rows.keys()].filter((place) => data.rows[place].mark === mark);
    const rows = places.map((place) => data.rows[place]);
    return {
      x: rows.map((row) => row.value),
      y: places,
      error_x: {
        type: "data",
        symmetric: false,
        array: rows.map((row) => (row.high === null ? 0 : row.high - row.value)),
        arrayminus: rows.map((row) => (row.low === null ? 0 : row.value - row.low)),
        color,
        thickness: 1.5,
        width: 4,
      },
      text: rows.map((row) => row.hover),
      hovertemplate: "%{text}<extra></extra>",
      type: "scatter",
      mode: "markers",
      showlegend: false,
      marker: { color, symbol, size, line: { color, width: 2 } },
    };
  }

  function drawDots(host, data, width) {
    const style = getComputedStyle(host);
    const last = data.rows.length - 1;
    // Long names beside the dots would leave these no room: they go above them.
    const longest = Math.max(...data.rows.map((row) => row.label.length));
    const above = 6.5 * longest > 0.45 * width;
    const ends = data.rows.flatMap(({ low, value, high }) => [low ?? value, value, high ?? value]);
    if (data.zero) ends.push(0);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const room = 0.06 * (high - low || 1);
    const line = { color: style.color, width: 1.5, dash: above ? "solid" : "dash" };
    // Names above the dots are not to be struck through by the line at zero.
    const zeros = above
      ? data.rows.map((_, place) => ({ y0: place - 0.2, y1: place + 0.36 }))
      : [{ yref: "paper", y0: 0, y1: 1 }];
    const layout = {
      width,
      height: (above ? 38 : 26) * data.rows.length + 64,
      margin: { l: 8, r: 14, t: 8, b: 48 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: style.color, family: style.fontFamily, size: 12 },
      xaxis: {
        title: { text: data.axis, standoff: 8 },
        range: [low - room, high + room],
        nticks: width < 400 ? 5 : 7,
        tickangle: 0,
        gridcolor: GRID,
        zeroline: false,
        fixedrange: true,
      },
      yaxis: {
        range: [last + 0.6, above ? -0.8 : -0.6],
        tickvals: [...data.rows.keys()],
        ticktext: data.rows.map((row) => (row.mark === "own" ? `<b>${row.label}</b>` : row.label)),
        showticklabels: !above,
        ticks: "",
        automargin: !above,
        gridcolor: GRID,
        zeroline: false,
        fixedrange: true,
      },
      shapes: data.zero ? zeros.map((at) => ({ ...at, type: "line", x0: 0, x1: 0, line })) : [],
      annotations: data.rows.map((row, place) => ({
        visible: above,
        text: row.mark === "own" ? `<b>${row.label}</b>` : row.label,
        xref: "paper",
        x: 0,
        xanchor: "left",
        y: place,
        yshift: 15,
        showarrow: false,
      })),
      hoverlabel: { align: "left" },
      dragmode: false,
    };
    const plot = document.createElement("div");
    host.replaceChildren(plot);
    window.Plotly.newPlot(
      plot,
      Object.keys(DOTS).map((mark) => dotTrace(data, mark, style)),
      layout,
      { displayModeBar: false },
    );
  }

  // Draws every plot of a panel, now and whenever its width changes (hidden tabs have none);
  // returns the function that draws what the panel holds after it was filled anew.
  function dots(element) {
    const drawn = new WeakMap();

    function draw() {
      element.querySelectorAll("[data-dots]").forEach((host) => {
        const width = host.offsetWidth;
        const state = `${width} ${getComputedStyle(host).color} ${host.dataset.dots}`;
        // A panel that is filled anew loses its plots but keeps the elements they were in.
        if (!width || (host.firstElementChild && drawn.get(host) === state)) return;
        drawn.set(host, state);
        drawDots(host, JSON.parse(host.dataset.dots), width);
      });
    }

    new ResizeObserver(draw).observe(element);
    draw();
    return draw;
  }

  return { address, tab, table, maps, dots, start, closeDrawer, openDrawer };
})();
