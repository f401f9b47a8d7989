"use strict";
// Shows, filters and sorts the rows. Text reaches the page only as textContent, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { kinds, kind, device, session, material, planned, columns } = data;
  const count = kind.length, PAGE = 100, MOST_PRINTED = 1000;
  const byId = (id) => document.getElementById(id);
  const body = byId("rows").tBodies[0], text = byId("text"), decision = byId("decision"), reason = byId("reason");
  const column = Object.fromEntries(columns.map((name, at) => [name, at]));
  let found = new Uint32Array(0), page = 0, sorted = "row", falling = false;

  const words = (name) => name.replaceAll("_", " ");
  const left = (minutes, ended) => {
    if (minutes === null) return "–";
    if (minutes < 0) return ended;
    const days = Math.floor(minutes / 1440), hours = Math.floor(minutes / 60) % 24, rest = minutes % 60;
    if (days) return `${days} d ${hours} h`;
    return hours ? `${hours} h ${String(rest).padStart(2, "0")} min` : `${rest} min`;
  };
  const clock = (row) => planned[row] === null ? "–" : new Date((planned[row] + data.offset) * 1000).toISOString().slice(11, 16);

  // --- What the filter shows ---

  const haystacks = kinds.map((one) => one.slice(0, column.explanation).map(words).join("\n").toLowerCase());
  const devices = device.map((one) => one.toLowerCase());

  const filter = () => {
    const needles = text.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = kinds.map((one) => (!decision.value || one[column.decision] === decision.value)
      && (!reason.value || one[column.reason] === reason.value));
    // A word is in the row's device or in its kind; the kinds are asked once each.
    const inKind = needles.map((needle) => haystacks.map((haystack) => haystack.includes(words(needle))));
    const rows = new Uint32Array(count);
    let size = 0;
    for (let row = 0; row < count; row++) {
      if (wanted[kind[row]] && needles.every((needle, at) => inKind[at][kind[row]] || devices[row].includes(needle))) {
        rows[size++] = row;
      }
    }
    found = rows.subarray(0, size);
    page = 0;
    sort();
  };

  // --- Their order ---

  const ranks = {};
  const rankOf = (name) => {
    if (ranks[name]) return ranks[name];
    const last = Number.MAX_SAFE_INTEGER;
    let of;
    if (name === "row") of = Uint32Array.from(kind, (_, row) => row);
    else if (name === "session") of = session.map((one) => one ?? last);
    else if (name === "material") of = material.map((one) => one ?? last);
    else if (name === "planned") of = planned.map((one) => one ?? last);
    else if (name === "device") {
      const order = Uint32Array.from(kind, (_, row) => row).sort((a, b) => (device[a] < device[b] ? -1 : device[a] > device[b] ? 1 : a - b));
      of = new Uint32Array(count);
      order.forEach((row, rank) => { of[row] = rank; });
    } else {
      const names = [...new Set(kinds.map((one) => one[column[name]]))].sort();
      const rank = kinds.map((one) => names.indexOf(one[column[name]]));
      of = Uint32Array.from(kind, (one) => rank[one]);
    }
    return (ranks[name] = of);
  };

  const sort = () => {
    const rank = rankOf(sorted), sign = falling ? -1 : 1;
    found.sort((a, b) => sign * (rank[a] - rank[b]) || a - b);
    show();
  };

  // --- The page ---

  const cell = (row, value, className) => {
    const made = row.insertCell();
    made.textContent = value;
    if (className) made.className = className;
    return made;
  };

  const explain = (line, row, button) => {
    const is_open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!is_open));
    button.textContent = is_open ? "?" : "×";
    if (is_open) { line.nextElementSibling.remove(); return; }
    const why = document.createElement("tr"), made = document.createElement("td");
    why.className = "why";
    made.colSpan = line.cells.length;
    const sentences = [kinds[kind[row]][column.explanation].replaceAll(data.placeholder, () => device[row])];
    if (session[row] !== null) sentences.push(`Session: ${left(session[row], "ends before the stop")}${session[row] < 0 ? "." : " left at the stop."}`);
    if (material[row] !== null) sentences.push(`Material: ${left(material[row], "ends before the stop")}${material[row] < 0 ? "." : " left at the stop."}`);
    made.textContent = sentences.join("\n");
    why.append(made);
    line.after(why);
  };

  const line = (row) => {
    const one = kinds[kind[row]], made = document.createElement("tr");
    cell(made, (row + 1).toLocaleString("en"), "number");
    if (planned) cell(made, clock(row), "number");
    cell(made, device[row] || "–", "device");
    cell(made, words(one[column.action]));
    const decided = cell(made, "", one[column.decision]), sign = document.createElement("span");
    sign.className = "sign";
    sign.textContent = data.signs[one[column.decision]];
    decided.append(sign, ` ${words(one[column.decision])}`);
    cell(made, one[column.reason] === "ok" ? "" : words(one[column.reason]));
    cell(made, one[column.missing]);
    cell(made, `${words(one[column.device_class])}, ${words(one[column.security_level])}, ${words(one[column.mode])}`, "soft");
    cell(made, left(session[row], "ended"), "number");
    cell(made, left(material[row], "ended"), "number");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "open";
    button.textContent = "?";
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", `Explain row ${row + 1}`);
    button.addEventListener("click", () => explain(made, row, button));
    made.insertCell().append(button);
    return made;
  };

  const show = (from = page * PAGE, size = PAGE) => {
    body.replaceChildren(...Array.from(found.subarray(from, from + size), line));
    const last = Math.min(found.length, from + size);
    byId("shown").textContent = found.length
      ? `Rows ${(from + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${found.length.toLocaleString("en")}`
      : count ? "No row matches the filter." : "The route has no rows.";
    byId("previous").disabled = from === 0;
    byId("next").disabled = last >= found.length;
    for (const header of byId("rows").tHead.rows[0].cells) {
      if (header.dataset.column) {
        header.setAttribute("aria-sort", header.dataset.column === sorted ? (falling ? "descending" : "ascending") : "none");
      }
    }
  };

  for (const header of byId("rows").tHead.rows[0].cells) {
    header.querySelector("button")?.addEventListener("click", () => {
      falling = header.dataset.column === sorted && !falling;
      sorted = header.dataset.column;
      page = 0;
      sort();
    });
  }
  text.addEventListener("input", filter);
  decision.addEventListener("change", filter);
  reason.addEventListener("change", filter);
  byId("previous").addEventListener("click", () => { page--; show(); });
  byId("next").addEventListener("click", () => { page++; show(); });
  // Paper has no pages to turn: it gets the rows of the filter, up to a limit.
  addEventListener("beforeprint", () => show(0, MOST_PRINTED));
  addEventListener("afterprint", () => show());

  // --- The list of requests ---

  byId("download")?.addEventListener("click", () => {
    const lines = data.requests.map(([one, type, action]) => [one, data.types[type], data.actions[action]].join(","));
    const url = URL.createObjectURL(new Blob([["device,token_type,action", ...lines, ""].join("\r\n")], { type: "text/csv" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = "requests.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  });

  filter();
})();
