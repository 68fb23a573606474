"use strict";
// Tables that can be sorted, charts and maps that answer to pointer and keys. Without it the page shows the same.
(() => {
  const NAMESPACE = "http://www.w3.org/2000/svg";
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);

  const drawn = (name, attributes) => {
    const element = document.createElementNS(NAMESPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  const button = (text, label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    if (label) made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    return made;
  };

  let owner = null;
  const showTip = (chart, x, y, ...content) => {
    owner = chart;
    tip.replaceChildren(...content);
    tip.hidden = false;
    const right = scrollX + document.documentElement.clientWidth - tip.offsetWidth - 8;
    const below = y + 16 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(scrollX + x + 14, right))}px`;
    tip.style.top = `${scrollY + (below ? y + 16 : Math.max(8, y - 12 - tip.offsetHeight))}px`;
  };
  // A chart that the pointer leaves does not hide what another one says by now.
  const hideTip = (chart) => { tip.hidden = tip.hidden || chart === owner; };
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(owner); });

  // Tables

  const valueOf = (cell) => {
    const number = Number(cell.dataset.value ?? cell.textContent.replace("−", "-").replace(/,/g, ""));
    const text = cell.textContent.trim();
    return text === "" || text === "—" ? null : Number.isNaN(number) ? text : number;
  };

  const compared = (one, other) => {
    if (typeof one === "number" && typeof other === "number") return one - other;
    return String(one).localeCompare(String(other), "en", { numeric: true });
  };

  const sorted = (rows, column, direction) => {
    if (!direction) return rows;
    const keyed = rows.map((row) => [row, row.cells[column] ? valueOf(row.cells[column]) : null]);
    // What has no value stands last either way.
    keyed.sort(([, one], [, other]) =>
      one === null || other === null ? (one === null) - (other === null) : direction * compared(one, other));
    return keyed.map(([row]) => row);
  };

  const makeSortable = (table) => {
    const parts = [...table.tBodies].map((body) => [body, [...body.rows].filter((row) => !row.matches(".group"))]);
    if (!table.tHead || !parts.some(([, rows]) => rows.length > 1)) return;
    const heads = [...table.tHead.rows[0].cells];
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    heads.forEach((head, column) => {
      if (head.tagName !== "TH") return;
      head.setAttribute("aria-sort", "none");
      const inner = button("", "", () => {
        const order = next[head.getAttribute("aria-sort")];
        for (const other of heads) if (other.tagName === "TH") other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", order);
        const direction = { none: 0, ascending: 1, descending: -1 }[order];
        for (const [body, rows] of parts) body.append(...sorted(rows, column, direction));
      });
      inner.className = "sort";
      inner.append(...head.childNodes);
      head.append(inner);
    });
  };

  // Charts with lines

  const placed = (value, [low, high, scale]) => {
    const place = (one) => (scale === "log" || (scale === "symlog" && one > 1))
      ? Math.log10(one) + (scale === "symlog" ? 1 : 0) : one;
    return (place(value) - place(low)) / (place(high) - place(low));
  };

  const makeReadable = (svg) => {
    const { x, lines, across, up, names } = JSON.parse(svg.dataset.chart);
    const [, , , top, bottom] = up;
    const label = svg.querySelector(".label")?.textContent ?? "";
    const cursor = drawn("line", { class: "cursor", y1: top, y2: bottom });
    const dots = lines.map(([, key]) => {
      const dot = drawn("circle", { class: "at", r: 4 });
      dot.style.stroke = `var(--${key.replace("e", "c")})`;
      return dot;
    });
    const marks = [cursor, ...dots];
    let at = null;
    const hide = () => { marks.forEach((mark) => mark.remove()); hideTip(svg); at = null; };
    const show = (index) => {
      at = Math.max(0, Math.min(x.length - 1, index));
      const place = placed(x[at], across);
      cursor.setAttribute("x1", `${100 * place}%`);
      cursor.setAttribute("x2", `${100 * place}%`);
      svg.append(cursor);
      const said = [names ? names[at] : `${label} ${x[at]}`];
      lines.forEach(([name, key, values], line) => {
        const value = values[at];
        const faded = svg.querySelector(`.line.${key}`)?.matches(".faded");
        if (value === null || faded) { dots[line].remove(); return; }
        dots[line].setAttribute("cx", `${100 * place}%`);
        dots[line].setAttribute("cy", bottom - placed(value, up) * (bottom - top));
        svg.append(dots[line]);
        said.push(`${name ? `${name}: ` : ""}${String(value).replace("-", "−")}`);
      });
      const box = svg.getBoundingClientRect();
      showTip(svg, box.left + place * box.width, box.top + bottom / 2, said.join("\n"));
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      const distances = x.map((value) => Math.abs(placed(value, across) - share));
      show(distances.indexOf(Math.min(...distances)));
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.tabIndex = 0;
    svg.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
      if (!(event.key in steps)) return;
      event.preventDefault();
      show(at === null ? (event.key === "End" ? x.length : 0) : at + steps[event.key]);
    });
  };

  // Maps of points

  const drawing = (text) => {
    const [path, ...labels] = text.split("|");
    const numbers = (path.match(/-?[\d.]+/g) ?? ["0", "0"]).map(Number);
    for (const label of labels) numbers.push(...label.split(" ").slice(-2).map(Number));
    const xs = numbers.filter((_, place) => place % 2 === 0);
    const ys = numbers.filter((_, place) => place % 2);
    const [left, above] = [Math.min(...xs), Math.min(...ys)];
    const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - above];
    // A small drawing is not enlarged beyond the size of letters.
    const unit = Math.max(width / 170, height / 120, 0.4);
    const room = 10 * unit;
    const box = [left - room, above - room, width + 2 * room, height + 2 * room].join(" ");
    const svg = drawn("svg", { viewBox: box });
    svg.append(drawn("path", { d: path, "stroke-width": 1.3 * unit }));
    for (const label of labels) {
      const words = label.split(" ");
      const [x, y] = words.slice(-2);
      const atom = drawn("text", { x, y, "font-size": 11 * unit, "stroke-width": 5 * unit });
      atom.textContent = words.slice(0, -2).join(" ");
      svg.append(atom);
    }
    return svg;
  };

  const makeMap = (svg) => {
    const points = [...svg.querySelectorAll(".points path")].map((path) => {
      const [x, y] = path.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
      const title = path.querySelector("title");
      title?.remove();
      return { path, x, y, title: title?.textContent ?? "", drawing: path.dataset.drawing };
    });
    const { width, height } = svg.viewBox.baseVal;
    const zooms = svg.matches(".zooms");
    const radius = Number(svg.dataset.radius);
    let [zoom, dx, dy, chosen] = [1, 0, 0, null];
    const unit = () => width / (svg.clientWidth || width);
    const place = (point) => [point.x * zoom + dx, point.y * zoom + dy];
    const redraw = () => {
      // At least so many pixels, however narrow the page is.
      const size = Math.max(radius, 2.8 * unit()) * Math.min(2, Math.sqrt(zoom));
      for (const point of points) {
        const [x, y] = place(point);
        point.path.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})scale(${size.toFixed(2)})`);
      }
    };
    const choose = (point) => {
      chosen?.path.classList.remove("chosen");
      chosen = point;
      if (!point) { hideTip(svg); return; }
      point.path.classList.add("chosen");
      point.path.parentNode.append(point.path);
      const box = point.path.getBoundingClientRect();
      const said = point.drawing ? [drawing(point.drawing), point.title] : [point.title];
      if (said.some(Boolean)) showTip(svg, box.left + box.width / 2, box.top + box.height / 2, ...said);
    };
    const under = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const seen = (point) => {
      const [x, y] = place(point);
      return !point.path.matches(".faded") && x >= 0 && y >= 0 && x <= width && y <= height;
    };
    const nearest = (distance) => {
      let [best, least] = [null, Infinity];
      for (const point of points) {
        const found = seen(point) ? distance(...place(point)) : Infinity;
        if (found < least) [best, least] = [point, found];
      }
      return [best, least];
    };
    const zoomAt = (x, y, factor) => {
      const now = Math.max(1, Math.min(60, zoom * factor));
      [dx, dy] = now === 1 ? [0, 0] : [x - (x - dx) * now / zoom, y - (y - dy) * now / zoom];
      zoom = now;
      choose(null);
      redraw();
    };
    const zoomCentre = (factor) => zoomAt(width / 2, height / 2, factor);
    let drag = null;
    svg.addEventListener("pointerdown", (event) => {
      svg.focus({ preventScroll: true });
      if (zooms && zoom > 1) { drag = under(event); svg.setPointerCapture(event.pointerId); }
    });
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { drag = null; });
    svg.addEventListener("pointermove", (event) => {
      const { x, y } = under(event);
      if (drag) {
        [dx, dy] = [dx + x - drag.x, dy + y - drag.y];
        drag = { x, y };
        choose(null);
        redraw();
        return;
      }
      const [point, distance] = nearest((a, b) => Math.hypot(a - x, b - y));
      const near = distance < 14 * unit() ? point : null;
      if (near !== chosen) choose(near);
    });
    svg.addEventListener("pointerleave", () => choose(null));
    svg.addEventListener("blur", () => choose(null));
    svg.tabIndex = 0;
    svg.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const zoomBy = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 };
      if (event.key in ways) {
        event.preventDefault();
        const [wx, wy] = ways[event.key];
        const [x, y] = chosen ? place(chosen) : [width / 2, height / 2];
        const [point] = nearest((a, b) => {
          const along = (a - x) * wx + (b - y) * wy;
          return along <= Math.abs((a - x) * wy + (b - y) * wx) || along < 0.5 ? Infinity : Math.hypot(a - x, b - y);
        });
        if (point) choose(point);
        else if (!chosen) choose(nearest((a, b) => Math.hypot(a - x, b - y))[0]);
      } else if (zooms && event.key in zoomBy) {
        event.preventDefault();
        zoomCentre(zoomBy[event.key]);
      }
    });
    if (zooms) {
      svg.addEventListener("wheel", (event) => {
        // The page scrolls past a map that the reader has not clicked.
        if (document.activeElement !== svg && !event.ctrlKey) return;
        event.preventDefault();
        const { x, y } = under(event);
        zoomAt(x, y, 1.2 ** -Math.sign(event.deltaY));
      }, { passive: false });
      const tools = document.createElement("div");
      tools.className = "tools";
      tools.append(
        button("+", "enlarge", () => zoomCentre(1.5)), button("−", "reduce", () => zoomCentre(1 / 1.5)),
        button("whole map", "", () => zoomCentre(0)),
        "Click the map, then turn the wheel to enlarge it; drag to move; arrow keys go from point to point.",
      );
      svg.after(tools);
    }
    new ResizeObserver(redraw).observe(svg);
  };

  // Legends: a click shows one class alone.

  const makeLegend = (legend) => {
    const figure = legend.closest("figure");
    const shapes = [...figure.querySelectorAll(".points path, .curves .line, .curves .dots, .diagram g")];
    const entries = [...legend.children].filter((entry) => shapes.some((shape) => shape.matches(`.${entry.dataset.key}`)));
    if (entries.length < 2) return;
    const buttons = entries.map((entry) => {
      const inner = button("", "", () => {
        const alone = inner.getAttribute("aria-pressed") !== "true";
        for (const other of buttons) other.setAttribute("aria-pressed", String(alone && other === inner));
        for (const shape of shapes) shape.classList.toggle("faded", alone && !shape.matches(`.${entry.dataset.key}`));
      });
      inner.setAttribute("aria-pressed", "false");
      inner.append(...entry.childNodes);
      entry.append(inner);
      return inner;
    });
  };

  document.querySelectorAll(".table table").forEach(makeSortable);
  document.querySelectorAll("svg[data-chart]").forEach(makeReadable);
  document.querySelectorAll("svg.map").forEach(makeMap);
  document.querySelectorAll(".legend").forEach(makeLegend);
})();
