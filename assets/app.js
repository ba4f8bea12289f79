// Behaviour of the page that Gradio has no component for: tables and star lists that report a
// row's own id, the pair in the address, the drawer on phones, the three maps, and the dot plots.
window.ckf = (() => {
  const PERSON_FIELDS = ["user", "rated", "taste", "age", "occupation", "at"];
  const PAIR_FIELDS = [...PERSON_FIELDS, "item", "method"];

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

  // Write a choice into the address before the server answers it, so that a reload keeps it.
  function choose(query) {
    const chosen = new URLSearchParams(query);
    setAddress((fields) => {
      if (PERSON_FIELDS.some((name) => chosen.has(name))) {
        PERSON_FIELDS.forEach((name) => fields.delete(name));
      }
      chosen.forEach((value, name) => fields.set(name, value));
    });
  }

  // The same for a row or a point; the classes of its component tell what a pick names.
  function choosePick(element, pick) {
    if (element.closest(".ckf-chooses-pair")) choose(pick);
    if (element.closest(".ckf-chooses-item")) choose({ item: pick });
    if (element.closest(".ckf-chooses-user")) choose({ user: pick });
  }

  // Write the filters of the list into the address, those alone that are not as they were at first.
  function filters(values, defaults) {
    const most = defaults.at(-1);
    if (document.body.dataset.ckf !== "ready" || values[0] < 1 || values[0] > most) return;
    setAddress((fields) => {
      ["top", "genre", "from", "to"].forEach((name, place) => {
        const value = values[place];
        const plain = value === null || value === defaults[place];
        if (plain) fields.delete(name);
        else fields.set(name, value);
      });
    });
  }

  // The address of the view that is shown, whole even where the browser's own one is still short.
  function link() {
    const shown = document.querySelector("#pair .ckf-pair");
    const place = new URL(window.location.href);
    PAIR_FIELDS.forEach((name) => place.searchParams.delete(name));
    place.searchParams.delete("__theme");
    new URLSearchParams(shown.dataset.query).forEach((value, name) => {
      place.searchParams.set(name, value);
    });
    return place.href;
  }

  async function copyLink(button) {
    const text = link();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without a secure connection browsers offer no clipboard; the old way still works there.
      const box = document.createElement("textarea");
      box.value = text;
      document.body.append(box);
      box.select();
      document.execCommand("copy");
      box.remove();
      button.focus();
    }
    const said = button.parentElement.querySelector("[role=status]");
    said.textContent = "Link copied";
    window.setTimeout(() => (said.textContent = ""), 3000);
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

  // On a phone the tables of the data set stand between a query and its result: all are folded.
  function foldOnPhone(element) {
    if (!isPhone()) return;
    element.querySelectorAll("details").forEach((table) => (table.open = false));
  }

  // Called once the page's events are bound.
  function start() {
    closeDrawer();
    if (!remember()) tour(0);
    document.body.dataset.ckf = "ready";
  }

  function openDrawer() {
    const sidebar = document.querySelector(".sidebar");
    if (sidebar && !sidebar.classList.contains("open")) {
      sidebar.querySelector(".toggle-button").click();
    }
  }

  function sortBy(button, ascending) {
    const head = button.closest("th");
    const place = [...head.parentElement.children].indexOf(head);
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

  // Sorts every table as it was sorted before its panel was drawn anew.
  function sortAgain(element, sorted) {
    [...element.querySelectorAll("table")].forEach((table, place) => {
      const wanted = sorted.get(place);
      if (!wanted || table.querySelector("[aria-sort]")) return;
      const button = [...table.querySelectorAll(".ckf-sort")].find(
        (each) => each.textContent === wanted.label,
      );
      if (button) sortBy(button, wanted.ascending);
    });
  }

  function table(element, send) {
    const sorted = new Map(); // column and direction by the table's place in the panel
    new MutationObserver(() => sortAgain(element, sorted)).observe(element, {
      childList: true,
      subtree: true,
    });
    element.addEventListener("click", (event) => {
      const link = event.target.closest("[data-jump]");
      if (link) {
        event.preventDefault();
        jump(link.dataset.jump);
        return;
      }
      const sort = event.target.closest(".ckf-sort");
      if (sort) {
        const ascending = sort.closest("th").getAttribute("aria-sort") !== "ascending";
        sortBy(sort, ascending);
        const place = [...element.querySelectorAll("table")].indexOf(sort.closest("table"));
        sorted.set(place, { label: sort.textContent, ascending });
        return;
      }
      const chosen = event.target.closest("[data-pick]");
      if (chosen) {
        const { pick, rating = null, remove = null } = chosen.dataset;
        choosePick(element, pick);
        send({ pick, rating, remove });
      }
    });
  }

  // --- dialogs and own ratings ----------------------------------------------------------------

  let opener = null;

  // What is outside an open dialog can be neither seen by a screen reader nor reached.
  function setOutside(dialog, inert) {
    for (let inner = dialog; inner !== document.body; inner = inner.parentElement) {
      [...inner.parentElement.children].forEach((other) => {
        if (other !== inner) other.inert = inert;
      });
    }
    document.body.classList.toggle("ckf-modal", inert);
  }

  function openDialog(id) {
    const dialog = document.getElementById(id);
    opener = document.activeElement;
    dialog.classList.add("ckf-open");
    dialog.setAttribute("role", "dialog");
    dialog.setAttribute("aria-modal", "true");
    dialog.setAttribute("aria-labelledby", `${id}-title`);
    setOutside(dialog, true);
    dialog.querySelector("[data-first]").focus();
  }

  function closeDialog() {
    const dialog = document.querySelector(".ckf-dialog.ckf-open");
    if (!dialog) return;
    dialog.classList.remove("ckf-open");
    setOutside(dialog, false);
    opener?.focus();
    closeDrawer();
  }

  // Buttons of a panel that say what they are for; the panel's lists stay where they were scrolled
  // to, and the focus stays in the row, when the panel is drawn anew.
  function acts(element, send) {
    let row = null;
    const places = new Map();
    const lists = () => [...element.querySelectorAll(".ckf-own")];
    element.addEventListener("scroll", () => {
      lists().forEach((list, place) => places.set(place, list.scrollTop));
    }, true);
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act]");
      if (!button) return;
      const { act, row: place, item = "" } = button.dataset;
      row = place;
      send({ act, row: place, item });
      if (act === "mend") whenShown("#own-find textarea, #own-find input", (field) => field.focus());
    });
    new MutationObserver(() => {
      lists().forEach((list, place) => (list.scrollTop = places.get(place) ?? 0));
      if (row === null || document.activeElement !== document.body) return;
      element.querySelector(`[data-row="${row}"]`)?.focus({ preventScroll: true });
    }).observe(element, { childList: true, subtree: true });
  }

  // Calls once an element is visible, within three seconds.
  function whenShown(selector, act, tries = 60) {
    const found = document.querySelector(selector);
    if (found?.offsetWidth) act(found);
    else if (tries) setTimeout(() => whenShown(selector, act, tries - 1), 50);
  }

  const LARGEST_FILE = 4 * 1024 * 1024;
  let readAgain = () => {};

  // Takes a file by choice or by drop, has the server read it, and sends on what was read.
  function ownRatings(element, send) {
    const zone = element.querySelector(".ckf-drop");
    const said = element.querySelector("[role=status]");
    const input = zone.querySelector("input");
    let file = null;
    let top = "";

    async function read() {
      if (!file) return;
      const name = file.name;
      said.textContent = `Reading ${name}`;
      if (file.size > LARGEST_FILE) {
        said.textContent = "";
        send({ problem: `${name} has more than 4 MB; give the table of ratings alone.`, read: null });
        return;
      }
      const asked = file;
      try {
        const root = (window.gradio_config?.root ?? ".").replace(/\/$/, "");
        const answer = await fetch(`${root}/ratings?scale=${top}`, { method: "POST", body: file });
        const value = await answer.json();
        if (asked !== file) return;
        said.textContent = answer.ok ? name : "";
        zone.classList.toggle("ckf-small", answer.ok);
        send(answer.ok ? { read: value, problem: "" } : { read: null, problem: `${name}: ${value.detail}` });
      } catch {
        said.textContent = "";
        send({ read: null, problem: `${name} could not be sent; try again.` });
      }
    }

    function take(files) {
      if (!files.length) return;
      file = files[0];
      read();
    }

    input.addEventListener("change", () => {
      take(input.files);
      // the same file can be chosen again once it has been changed
      input.value = "";
    });
    ["dragover", "dragleave", "drop"].forEach((name) => {
      zone.addEventListener(name, (event) => {
        event.preventDefault();
        zone.classList.toggle("ckf-over-it", name === "dragover");
        if (name === "drop") take(event.dataTransfer.files);
      });
    });
    readAgain = (scale) => {
      top = String(scale).match(/\d+/)?.[0] ?? "";
      read();
    };
  }

  // Saves a file that came as text: its name, its type, and its bytes in base64.
  function saveFile(text) {
    if (!text) return;
    const { name, type, content } = JSON.parse(text);
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const address = URL.createObjectURL(new Blob([bytes], { type }));
    save(address, name);
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  // --- maps ---------------------------------------------------------------------------------

  const GRID = "rgba(128, 128, 128, 0.22)";
  const MARK = "#D55E00";
  const SVG_SHAPES = {
    circle: '<circle cx="8" cy="8" r="5"/>',
    "circle-open": '<circle cx="8" cy="8" r="5.5"/>',
    square: '<rect x="3" y="3" width="10" height="10"/>',
    diamond: '<path d="M8 2 L14 8 L8 14 L2 8 Z"/>',
    "diamond-open": '<path d="M8 2 L14 8 L8 14 L2 8 Z"/>',
    cross: '<path d="M6 2h4v4h4v4h-4v4h-4v-4h-4v-4h4z"/>',
    star: '<path d="M8 1.5 L10 6 L15 6.4 L11.2 9.6 L12.4 14.5 L8 11.8 L3.6 14.5 L4.8 9.6 L1 6.4 L6 6 Z"/>',
    plus: '<path d="M8 2 V14 M2 8 H14"/>',
  };

  const webgl = (() => {
    let known;
    return () => {
      if (known === undefined) {
        const context = document.createElement("canvas").getContext("webgl");
        known = Boolean(context);
        // Browsers allow a page few of them.
        context?.getExtension("WEBGL_lose_context")?.loseContext();
      }
      return known;
    };
  })();

  // Base64 of little-endian float32, point by point → one array per axis.
  function axesOf(text, dimensions) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const n = bytes.length / 4 / dimensions;
    return [...Array(dimensions).keys()].map((axis) =>
      Float32Array.from({ length: n }, (_, row) => view.getFloat32(4 * (row * dimensions + axis), true)),
    );
  }

  function decoded(value) {
    const data = JSON.parse(value);
    Object.values(data.spaces).forEach((space) => {
      space.axes = axesOf(space.points, data.dimensions);
    });
    return data;
  }

  function traces(data, catalogue, space, ink, paper) {
    const solid = data.dimensions === 3;
    const type = solid ? "scatter3d" : webgl() ? "scattergl" : "scatter";
    const pick = (places) => {
      const [x, y, z] = space.axes.map((axis) => Array.from(places, (place) => axis[place]));
      return solid ? { x, y, z } : { x, y };
    };
    const at = (places) => ({
      ...pick(places),
      customdata: places.map((place) => catalogue.items[place]),
      text: places.map((place) => catalogue.hover[place]),
      hovertemplate: "%{text}<extra></extra>",
      type,
      mode: "markers",
      showlegend: false,
    });
    const drawn = catalogue.groups.map((group, number) => ({
      ...at(catalogue.members[number]),
      name: group.name,
      marker: { color: group.colour, symbol: group.shape, size: solid ? 3 : 6, opacity: 0.55 },
    }));
    if (data.history.length) {
      const shapes = data.history.map((place) => catalogue.groups[catalogue.group[place]].shape);
      drawn.push({
        ...at(data.history),
        name: "history",
        marker: {
          color: ink,
          // Filled, whatever the genre's shape is.
          symbol: shapes.map((shape) => shape.replace("-open", "")),
          // A long history would cover the map.
          size: Math.max(5, 10 - data.history.length / 50) * (solid ? 0.5 : 1),
          line: { color: paper, width: data.history.length > 100 ? 0.5 : 1 },
        },
      });
    }
    if (data.recommended.length) {
      drawn.push({
        ...at(data.recommended),
        name: "recommended",
        marker: {
          color: ink,
          symbol: "circle-open",
          size: solid ? 9 : 15,
          line: { color: ink, width: 2 },
        },
      });
    }
    if (data.selected !== null) {
      drawn.push({
        ...at([data.selected]),
        name: "chosen",
        ...(solid
          ? {
              mode: "text",
              text: ["✚"],
              hovertext: [catalogue.hover[data.selected]],
              hovertemplate: "%{hovertext}<extra></extra>",
              textfont: { color: MARK, size: 20 },
              textposition: "middle center",
            }
          : { marker: { color: MARK, symbol: "cross-thin-open", size: 20, line: { width: 3 } } }),
      });
    }
    if (space.person) {
      const [x, y, z] = space.person.map((value) => [value]);
      drawn.push({
        ...(solid ? { x, y, z } : { x, y }),
        hovertext: [space.hover],
        hovertemplate: "%{hovertext}<extra></extra>",
        type,
        showlegend: false,
        name: data.name,
        ...(solid
          ? {
              mode: "text",
              text: ["★"],
              textfont: { color: MARK, size: 24 },
              textposition: "middle center",
            }
          : {
              mode: "markers",
              marker: { color: MARK, symbol: "star", size: 16, line: { color: paper, width: 1 } },
            }),
      });
    }
    return drawn;
  }

  function layoutOf(data, ink, name, drag) {
    const axis = {
      showticklabels: false,
      ticks: "",
      zeroline: false,
      gridcolor: GRID,
      automargin: false,
    };
    const common = {
      margin: { l: 4, r: 4, t: 4, b: 4 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink },
      hovermode: "closest",
      hoverlabel: { align: "left" },
      autosize: true,
      uirevision: `${name} ${data.kind} ${data.method} ${data.dimensions}`,
    };
    if (data.dimensions === 2) {
      return { ...common, xaxis: { ...axis }, yaxis: { ...axis }, dragmode: drag };
    }
    const side = { ...axis, title: { text: "" }, showspikes: false, showbackground: false };
    return {
      ...common,
      scene: {
        xaxis: { ...side },
        yaxis: { ...side },
        zaxis: { ...side },
        aspectmode: "cube",
        dragmode: "orbit",
        uirevision: common.uirevision,
      },
    };
  }

  function mark(shape, colour) {
    const open = shape.endsWith("-open") || shape === "plus";
    const style = open ? `fill:none;stroke:${colour};stroke-width:2` : `fill:${colour}`;
    return (
      '<svg class="ckf-mark" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" ' +
      `style="${style}">${SVG_SHAPES[shape]}</svg>`
    );
  }

  function legends(element, data, catalogue) {
    const entries = (list, shown) =>
      element.querySelector(list).replaceChildren(
        ...shown.map(([shape, colour, name]) => {
          const entry = document.createElement("li");
          entry.innerHTML = mark(shape, colour);
          entry.append(name);
          return entry;
        }),
      );
    entries(
      ".ckf-genres",
      catalogue.groups.map(({ shape, colour, name }) => [shape, colour, name]),
    );
    const films = [
      ["circle", "currentColor", "history"],
      ["circle-open", "currentColor", "recommended"],
      ["plus", MARK, "chosen"],
    ];
    entries(".ckf-marks", [
      ["star", MARK, "the person"],
      ...(data.kind === "films" ? films : []),
    ]);
  }

  // Where a point of the data lies in its plot, in pixels from the plot's corner; null outside.
  function pixel(plot, point) {
    const full = plot._fullLayout;
    if (point.length === 2) {
      const at = [full.xaxis, full.yaxis].map((axis, number) => axis._offset + axis.d2p(point[number]));
      const { l, t, w, h } = full._size;
      return at[0] < l || at[0] > l + w || at[1] < t || at[1] > t + h ? null : at;
    }
    const scene = full.scene._scene;
    const { model, view, projection } = scene.glplot.cameraParams;
    const scaled = point.map((value, axis) => value * scene.dataScale[axis]);
    // Column-major 4 × 4 matrices, as WebGL has them.
    const [x, y, , w] = [model, view, projection].reduce(
      (v, m) => [0, 1, 2, 3].map((row) => v.reduce((sum, part, column) => sum + m[4 * column + row] * part, 0)),
      [...scaled, 1],
    );
    const { l, t, w: width, h: height } = full._size;
    return [l + (width * (1 + x / w)) / 2, t + (height * (1 - y / w)) / 2];
  }

  function save(href, name) {
    const link = document.createElement("a");
    link.href = href;
    link.download = name;
    link.click();
  }

  // The picture as it is seen, with a title and the legend in it.
  function exported(plot, data, catalogue, space) {
    const style = getComputedStyle(document.body);
    const dark = document.body.classList.contains("dark");
    const layout = {
      ...plot.layout,
      title: {
        text: `${space.title}, ${data.name}<br><sub>${space.facts}</sub>`,
        x: 0.02,
        xanchor: "left",
      },
      margin: { l: 20, r: 20, t: 70, b: 20 },
      paper_bgcolor: dark ? "#0f172a" : "#ffffff",
      font: { color: plot.layout.font.color, family: style.fontFamily },
      showlegend: true,
    };
    return { data: plot.data.map((trace) => ({ ...trace, showlegend: true })), layout };
  }

  async function page(figure, title) {
    const source = document.querySelector('script[src*="plotly.min.js"]').src;
    const library = await (await fetch(source)).text();
    // JSON that stands in a script must not end it.
    const json = (value) => JSON.stringify(value).replaceAll("<", "\\u003c");
    const name = document.createElement("p");
    name.textContent = title;
    return (
      `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${name.innerHTML}</title>` +
      "<style>html,body,#map{height:100%;margin:0}</style></head><body>" +
      `<div id="map"></div><script>${library}</` +
      `script><script>Plotly.newPlot("map", ${json(figure.data)}, ${json(figure.layout)}, ` +
      '{"responsive": true, "scrollZoom": true, "displaylogo": false});</' +
      "script></body></html>"
    );
  }

  function maps(element, read, server, send, select) {
    const figures = [...element.querySelectorAll("figure")];
    const drags = new Map(); // what dragging does, by figure: it moves the map, or selects points
    const plotOf = (figure) => figure.querySelector(".ckf-map");
    const catalogues = {};
    let shown = "";
    let data = null;
    let catalogue = null;

    const visible = () => figures.filter((figure) => !figure.hidden);

    function link(place, origin) {
      visible().forEach((figure) => {
        const ring = figure.querySelector(".ckf-link");
        const space = data.spaces[figure.dataset.space];
        const plot = plotOf(figure);
        const at =
          place === null || figure === origin || !plot._fullLayout
            ? null
            : pixel(plot, space.axes.map((axis) => axis[place]));
        ring.hidden = at === null;
        if (at === null) return;
        ring.style.transform = `translate(${at[0]}px, ${at[1]}px)`;
        ring.classList.toggle("ckf-left", at[0] > plot.offsetWidth / 2);
        ring.classList.toggle("ckf-up", at[1] > plot.offsetHeight / 2);
        ring.innerHTML = `<span>${catalogue.hover[place]}</span>`;
      });
    }

    // Browsers allow a page few contexts of WebGL: those of a plot that goes are given back at once.
    function clear(plot) {
      if (!plot._fullLayout) return;
      const canvases = [...plot.querySelectorAll("canvas")];
      window.Plotly.purge(plot);
      canvases.forEach((canvas) => {
        canvas.getContext("webgl")?.getExtension("WEBGL_lose_context")?.loseContext();
      });
      delete plot.dataset.drawn;
    }

    function bind(figure) {
      const plot = plotOf(figure);
      plot.on("plotly_click", ({ points }) => {
        if (points[0].customdata !== undefined) {
          const pick = points[0].customdata;
          choose({ [data.kind === "people" ? "user" : "item"]: pick });
          send({ pick, kind: data.kind });
        }
      });
      plot.on("plotly_selected", (event) => {
        const ids = (event?.points ?? []).map((chosen) => chosen.customdata);
        const picked = [...new Set(ids.filter((id) => id !== undefined))];
        if (picked.length) select({ picked, kind: data.kind });
      });
      plot.on("plotly_hover", ({ points }) => {
        const place = catalogue.places.get(points[0].customdata);
        link(place === undefined ? null : place, figure);
      });
      plot.on("plotly_unhover", () => link(null));
      plot.on("plotly_relayouting", () => link(null));
    }

    function zoom(plot, factor) {
      const full = plot._fullLayout;
      if (data.dimensions === 3) {
        const { eye } = full.scene._scene.getCamera();
        const scaled = Object.fromEntries(Object.entries(eye).map(([k, v]) => [k, v * factor]));
        window.Plotly.relayout(plot, { "scene.camera.eye": scaled });
        return;
      }
      const around = ([low, high]) => {
        const [middle, half] = [(low + high) / 2, ((high - low) / 2) * factor];
        return [middle - half, middle + half];
      };
      window.Plotly.relayout(plot, {
        "xaxis.range": around(full.xaxis.range),
        "yaxis.range": around(full.yaxis.range),
      });
    }

    const actions = {
      in: (plot) => zoom(plot, 1 / 1.5),
      out: (plot) => zoom(plot, 1.5),
      reset: (plot) =>
        window.Plotly.relayout(
          plot,
          data.dimensions === 3
            ? { "scene.camera": null }
            : { "xaxis.autorange": true, "yaxis.autorange": true },
        ),
      select: (plot, space, name, button) => {
        const figure = plot.closest("figure");
        const lasso = drags.get(figure) !== "lasso" && data.dimensions === 2;
        drags.set(figure, lasso ? "lasso" : "pan");
        button.setAttribute("aria-pressed", lasso);
        if (data.dimensions === 2) window.Plotly.relayout(plot, { dragmode: drags.get(figure) });
      },
      png: (plot, space, name) =>
        window.Plotly.downloadImage(exported(plot, data, catalogue, space), {
          format: "png",
          width: 1200,
          height: 900,
          filename: name,
        }),
      html: async (plot, space, name) => {
        const text = await page(exported(plot, data, catalogue, space), `${space.title}, ${data.name}`);
        const address = URL.createObjectURL(new Blob([text], { type: "text/html" }));
        save(address, `${name}.html`);
        setTimeout(() => URL.revokeObjectURL(address), 10000);
      },
    };

    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-map]");
      if (!button || !data) return;
      const figure = button.closest("figure");
      const space = data.spaces[figure.dataset.space];
      const parts = ["map", figure.dataset.space, data.method, `${data.dimensions}d`, data.name];
      actions[button.dataset.map](plotOf(figure), space, parts.join("-").replaceAll(" ", "-").toLowerCase(), button);
    });
    // The wheel scrolls the page; with Ctrl, which is also what pinching sends, it zooms a map.
    element.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
      },
      { capture: true, passive: true },
    );
    // A row of the tables below, pointed at or focused, is found in the maps.
    ["neighbours", "people-alike", "highlights"].forEach((id) => {
      const rows = document.getElementById(id);
      const find = (event) => {
        const row = event.target.closest("[data-pick]");
        const place = row && catalogue?.places.get(row.dataset.pick);
        if (data) link(place ?? null);
      };
      rows?.addEventListener("mouseover", find);
      rows?.addEventListener("focusin", find);
      rows?.addEventListener("mouseleave", () => data && link(null));
      rows?.addEventListener("focusout", () => data && link(null));
    });

    async function draw() {
      const value = read();
      // A hidden tab has no width yet; the observer below calls again when it has one.
      if (!value || !window.Plotly || !element.offsetWidth) return;
      const ink = getComputedStyle(element).color;
      if (shown === value + ink) return;
      shown = value + ink;
      const next = decoded(value);
      if (!catalogues[next.kind]) {
        const found = await server.catalogue(next.kind);
        found.members = found.groups.map(() => []);
        found.group.forEach((group, place) => found.members[group].push(place));
        found.places = new Map(found.items.map((item, place) => [item, place]));
        catalogues[next.kind] = found;
        // Another picture may have been asked for meanwhile.
        if (shown !== value + ink) return;
      }
      link(null);
      data = next;
      catalogue = catalogues[next.kind];
      legends(element, data, catalogue);
      const paper = document.body.classList.contains("dark") ? "#0f172a" : "#ffffff";
      const count = Object.keys(data.spaces).length;
      element.querySelector(".ckf-maps").dataset.count = count;
      element.querySelectorAll("[data-map=select]").forEach((button) => {
        button.hidden = data.dimensions === 3;
      });
      figures.forEach((figure) => {
        const plot = plotOf(figure);
        const space = data.spaces[figure.dataset.space];
        figure.hidden = !space;
        const without = data.dimensions === 3 && !webgl();
        if (!space || without || (plot._fullLayout && plot.dataset.drawn !== `${data.dimensions}`)) {
          clear(plot);
        }
        if (!space) return;
        figure.querySelector("figcaption .ckf-facts").textContent = space.facts;
        if (without) {
          plot.textContent = "Three dimensions need WebGL, which this browser does not offer; choose 2-D.";
          return;
        }
        const first = !plot.dataset.drawn;
        if (first) plot.replaceChildren();
        plot.dataset.drawn = data.dimensions;
        window.Plotly.react(
          plot,
          traces(data, catalogue, space, ink, paper),
          layoutOf(data, ink, figure.dataset.space, drags.get(figure) ?? "pan"),
          { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: true },
        );
        if (first) bind(figure);
      });
    }

    new ResizeObserver(() => {
      draw();
      visible().forEach((figure) => {
        const plot = plotOf(figure);
        if (plot.offsetWidth && plot._fullLayout) window.Plotly.Plots.resize(plot);
      });
    }).observe(element);
    draw();
    return draw;
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

  // --- line plots -----------------------------------------------------------------------------

  // One method each: colour, symbol and dash, so that none of them has to carry it alone.
  const LINES = [
    { colour: "--ckf-accent", symbol: "circle", dash: "solid" },
    { colour: "--body-text-color", symbol: "square", dash: "dot" },
    { colour: "--ckf-third", symbol: "triangle-up", dash: "dash" },
  ];

  // Series with intervals stand a little apart, so that these do not hide one another.
  function lineTrace(series, aside, style, mode) {
    const { colour, symbol, dash } = LINES[series.style];
    const color = style.getPropertyValue(colour).trim() || style.color;
    const column = (place) => series.points.map((point) => point[place]);
    const spread = series.points.map(([, value, low, high]) => [
      low === null ? 0 : value - low,
      high === null ? 0 : high - value,
    ]);
    const intervals = series.points.some((point) => point[2] !== null);
    return {
      x: column(0).map((x) => (intervals ? x + aside : x)),
      y: column(1),
      text: column(4),
      hovertemplate: "%{text}<extra></extra>",
      error_y: {
        type: "data",
        symmetric: false,
        visible: intervals,
        array: spread.map((ends) => ends[1]),
        arrayminus: spread.map((ends) => ends[0]),
        color,
        thickness: 1,
        width: 3,
      },
      type: "scatter",
      mode,
      name: series.name,
      line: { color, width: 2, dash },
      marker: {
        color,
        symbol: series.open ? `${symbol}-open` : symbol,
        size: 8,
        line: { color, width: 2 },
      },
    };
  }

  function knownLine(k, style) {
    return { type: "line", x0: k, x1: k, yref: "paper", y0: 0, y1: 1, layer: "below",
      line: { color: style.getPropertyValue("--ckf-muted").trim(), width: 1 } };
  }

  function truthLine(truth, style) {
    return { type: "line", xref: "paper", x0: 0, x1: 1, y0: truth[0], y1: truth[0],
      line: { color: style.getPropertyValue("--ckf-mark").trim(), width: 2, dash: "dash" } };
  }

  function lineShapes(data, style) {
    const shapes = data.truth ? [truthLine(data.truth, style)] : [];
    if (data.k !== undefined) shapes.push(knownLine(data.k, style));
    return shapes;
  }

  function drawLines(host, data, width) {
    const style = getComputedStyle(host);
    const narrow = width < 420;
    const plot = document.createElement("div");
    host.replaceChildren(plot);
    const last = data.ticks.at(-1) ?? 0;
    const layout = {
      width,
      height: data.categories ? 400 : 330,
      margin: { l: 54, r: 12, t: 12, b: 48 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: style.color, family: style.fontFamily, size: 12 },
      xaxis: {
        title: { text: data.x, standoff: 8 },
        range: [-0.4, last + 0.4],
        // Names of categories are longer than numbers.
        automargin: Boolean(data.categories),
        tickangle: data.categories ? -40 : undefined,
        tickvals: data.ticktext ? data.ticks : undefined,
        ticktext: data.ticktext,
        dtick: data.ticktext ? undefined : Math.max(1, Math.ceil(last / (narrow ? 6 : 12))),
        gridcolor: GRID,
        zeroline: false,
        fixedrange: true,
      },
      yaxis: {
        title: { text: data.y.split(" (")[0], standoff: 6 },
        tickformat: data.percent ? ".0%" : undefined,
        rangemode: data.zero ? "tozero" : "normal",
        gridcolor: GRID,
        zeroline: false,
        fixedrange: true,
        nticks: 7,
      },
      shapes: lineShapes(data, style),
      annotations: [
        ...(data.truth
          ? [{ xref: "paper", x: 1, xanchor: "right", y: data.truth[0], text: data.truth[1],
              yanchor: data.truth[0] > 0.5 && data.percent ? "top" : "bottom", showarrow: false,
              font: { color: style.getPropertyValue("--ckf-mark").trim() } }]
          : []),
        ...(narrow ? [] : (data.notes ?? [])).map((note, place) => ({
          x: note.x, y: note.y, text: note.text, showarrow: true, arrowhead: 0, arrowwidth: 1,
          arrowcolor: style.color, ax: 0, ay: place % 2 ? 34 : -34, font: { size: 11 },
        })),
      ],
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
      showlegend: data.series.length > 1,
      hoverlabel: { align: "left" },
      dragmode: false,
    };
    const step = data.categories ? 0.12 : 0.04 * Math.max(1, last / 10);
    const mode = data.categories ? "markers" : "lines+markers";
    const traces = data.series.map((series, place) =>
      lineTrace(series, (place - (data.series.length - 1) / 2) * step, style, mode),
    );
    window.Plotly.newPlot(plot, traces, layout, { displayModeBar: false });
  }

  // A figure of Plotly's that comes without colours, which the page's theme decides.
  function drawFigure(host, { data, layout }, width) {
    const style = getComputedStyle(host);
    const color = style.getPropertyValue("--ckf-accent").trim();
    const plot = document.createElement("div");
    host.replaceChildren(plot);
    window.Plotly.newPlot(
      plot,
      data.map((trace) => ({ ...trace, marker: { ...trace.marker, color }, line: { color } })),
      { ...layout, width, font: { color: style.color, family: style.fontFamily, size: 12 } },
      { displayModeBar: false },
    );
  }

  const DRAWN = { dots: drawDots, lines: drawLines, figure: drawFigure };

  // Draws every dot plot, line plot and figure of a panel, now and whenever its width changes (hidden tabs
  // have none); returns the function that draws what the panel holds after it was filled anew.
  function plots(element) {
    const drawn = new WeakMap();

    function draw() {
      if (!window.Plotly) return;
      element.querySelectorAll("[data-dots], [data-lines], [data-figure]").forEach((host) => {
        const width = host.offsetWidth;
        const kind = Object.keys(DRAWN).find((name) => name in host.dataset);
        const data = host.dataset[kind];
        const state = `${width} ${getComputedStyle(host).color} ${data}`;
        // A panel that is filled anew loses its plots but keeps the elements they were in.
        if (!width || (host.firstElementChild && drawn.get(host) === state)) return;
        drawn.set(host, state);
        DRAWN[kind](host, JSON.parse(data), width);
      });
    }

    new ResizeObserver(draw).observe(element);
    draw();
    return draw;
  }

  // Marks k in the plots and the table of a replay, and keeps it in the address.
  function known(k) {
    if (document.body.dataset.ckf === "ready") setAddress((fields) => fields.set("k", k));
    document.querySelectorAll("#replay [data-lines]").forEach((host) => {
      const data = { ...JSON.parse(host.dataset.lines), k };
      const style = getComputedStyle(host);
      if (host.firstElementChild) {
        window.Plotly.relayout(host.firstElementChild, { shapes: lineShapes(data, style) });
      }
    });
    document.querySelectorAll("#replay tr[id]").forEach((row) => {
      row.classList.toggle("ckf-selected", row.id === `replay-${k}`);
    });
  }

  // --- the tour of a first visit --------------------------------------------------------------

  const TOURED = "ckf-toured";

  // Private windows may refuse storage; the tour then comes back with the next visit.
  function remember(value) {
    try {
      if (value !== undefined) window.localStorage.setItem(TOURED, value);
      return window.localStorage.getItem(TOURED);
    } catch {
      return value ?? null;
    }
  }

  // Before anything is drawn, so that the page does not jump.
  if (remember()) document.documentElement.classList.add(TOURED);

  function point(selector) {
    document.querySelectorAll(".ckf-pointed").forEach((other) => {
      other.classList.remove("ckf-pointed");
    });
    if (selector) document.querySelector(selector)?.classList.add("ckf-pointed");
  }

  // Show a step, counted from 0; null ends the tour.
  function tour(step) {
    const strip = document.querySelector("#tour .ckf-tour");
    const ended = step === null;
    document.documentElement.classList.toggle(TOURED, ended);
    if (ended) {
      remember("seen");
      point(null);
      document.getElementById("tour-again").focus();
      return;
    }
    const steps = [...strip.querySelectorAll("li")];
    steps.forEach((other, place) => other.classList.toggle("ckf-now", place === step));
    strip.dataset.step = step;
    strip.querySelector(".ckf-tour-place span").textContent = `${step + 1} of ${steps.length}`;
    strip.querySelector("[data-tour=back]").disabled = step === 0;
    strip.querySelector("[data-tour=next]").textContent = step + 1 < steps.length ? "Next" : "Done";
    strip.querySelector("[role=status]").textContent =
      `${step + 1} of ${steps.length}: ${steps[step].textContent}`;
    point(steps[step].dataset.at);
  }

  function walk(direction) {
    const strip = document.querySelector("#tour .ckf-tour");
    const step = Number(strip.dataset.step ?? 0) + direction;
    tour(step < strip.querySelectorAll("li").length ? step : null);
  }

  document.addEventListener("click", (event) => {
    const copy = event.target.closest("[data-copy-link]");
    if (copy) copyLink(copy);
    if (event.target.closest("[data-close-dialog]") || event.target.matches(".ckf-dialog.ckf-open")) {
      closeDialog();
    }
    const chosen = event.target.closest("[data-tour]")?.dataset.tour;
    if (chosen === "close") tour(null);
    else if (chosen) walk(chosen === "next" ? 1 : -1);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.closest(".ckf-tour")) tour(null);
    if (event.key === "Escape") closeDialog();
    const runs = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (runs && event.target.closest("#data-sql")) {
      event.preventDefault();
      document.querySelector("#data-run").click();
    }
  });

  return {
    address, choose, filters, tab, tour, table, maps, plots, known, foldOnPhone, start, closeDrawer,
    openDrawer, openDialog, closeDialog, acts, ownRatings, saveFile,
    readAgain: (scale) => readAgain(scale),
  };
})();
