(() => {
  const data = JSON.parse(byId("data").textContent);
  const toolbar = byId("toolbar"), filter = byId("filter"), rows = byId("rows"), groups = byId("groups");
  const articles = [...document.querySelectorAll("article.finding")];
  const named = (kind, values) => Object.fromEntries(data.fields[kind].map((field, i) => [field, values[i]]));
  const readDifference = (values) => {
    const difference = named("difference", values);
    difference.left = named("side", difference.left);
    difference.right = named("side", difference.right);
    return difference;
  };
  const versions = data.versions.map((values) => {
    const version = named("version", values);
    version.copies = version.copies.map((copy) => named("copy", copy));
    version.findings = version.findings.map((finding) => named("finding", finding));
    version.differences = version.differences.map(readDifference);
    version.baseline_differences = version.baseline_differences.map(readDifference);
    version.life = version.life.map((event) => named("event", event));
    if (version.baseline !== null) version.baseline = named("baseline", version.baseline);
    return version;
  });
  const keyOf = (name, version) => `${name}\n${version}`;
  const versionOf = new Map(versions.map((version) => [keyOf(version.name, version.version), version]));

  const differing = (version) => [...version.differences, ...version.baseline_differences];
  const versionIndex = (v) => indexOf(v.name, [v.version],
    [v.run_id, ...v.aliases.map((alias) => `@${alias}`), ...v.places.map((place) => place[1]),
      ...v.copies.map((copy) => copy.full_digest), v.baseline === null ? "" : v.baseline.accepted,
      ...differing(v).flatMap((d) => [d.path, d.left.full_digest, d.right.full_digest])],
    [v.name, v.stage, ...v.aliases, v.status, data.labels[v.verdict], v.storage, v.reason ?? "", v.signature,
      v.baseline === null ? "" : `${v.baseline.label} ${v.baseline.accepted}`,
      ...v.findings.flatMap((finding) => [finding.rule, finding.group, finding.life, finding.title]),
      ...differing(v).map((d) => d.kind)]);
  const articleIndex = (article) => {
    const { model, version, severity, life } = article.dataset;
    const texts = (selector) => [...article.querySelectorAll(selector)];
    return indexOf(model, [version],
      [...texts("code.path").map((code) => code.textContent), ...texts(".mark").map((mark) => mark.textContent),
        ...texts(".digest").map((button) => button.dataset.copy), ...texts("a code").map((code) => code.textContent),
        ...texts(".waiver, .message").map((text) => text.textContent)],
      [model, severity, life, ...texts(".rule, .message, .remedy, .mark, .kind, .waiver, .severity").map((text) => text.textContent)]);
  };
  const indexes = new Map();
  const indexed = (of, make) => {
    if (!indexes.has(of)) indexes.set(of, make(of));
    return indexes.get(of);
  };
  const page = (base, ...route) => (base === null || route.some((part) => part === "" || part.includes("\\")) ? null
    : `${base}/#/${route.map(encodeURIComponent).join("/")}`);
  const [modelPages, runPages] = data.pages;
  const link = (address, attributes, ...children) => (address === null ? make("span", attributes, ...children)
    : make("a", { ...attributes, href: address, rel: "noreferrer" }, ...children));
  const symbolOf = (character) => make("span", { class: "symbol", "aria-hidden": "true" }, character);
  const digestOf = (short, full) => (full
    ? [make("button", { type: "button", class: "digest", "data-copy": full, title: full }, make("code", {}, short))] : []);
  const sideOf = (side, label) => make("td", { "data-label": label }, ...(side.present
    ? [make("span", { class: "size" }, side.size), ...digestOf(side.digest, side.full_digest)]
    : [make("span", { class: "absent" }, "not there")]));
  const heads = (...names) => make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
  const differenceTable = (differences, total, left, right) => {
    const body = differences.map((d) => make("tr", {},
      make("th", { scope: "row" }, make("code", { class: "path" }, d.path), make("span", { class: "kind" },
        d.kind + (d.expected_by === null ? "" : `, expected: ${d.expected_by}`))),
      sideOf(d.left, left), sideOf(d.right, right)));
    const table = make("table", { class: "differences" }, heads("Path", left, right), make("tbody", {}, ...body));
    const more = total - differences.length;
    return more > 0 ? [table, make("p", { class: "more" }, `and ${number(more)} more: see audit.json.`)] : [table];
  };
  const since = (text) => (text ? [make("span", { class: "since" }, text)] : []);
  const baselineOf = ({ status, label, accepted, read }) => [
    make("span", { class: `baseline ${status}` }, label), ...since(read), ...since(accepted)];
  const of = new WeakMap(); // rows to their versions
  const rowsOf = (version, open) => {
    const mark = (text) => make("span", { class: "mark" }, text);
    const cells = [
      make("th", { scope: "row", "data-label": "Version" },
        make("span", { class: "name" }, version.name, make("span", { class: "slash" }, "/")),
        link(page(modelPages, "models", version.name, "versions", version.version), { class: "number" }, version.version),
        ...(version.stage ? [mark(version.stage)] : []), ...version.aliases.map((alias) => mark(`@${alias}`)),
        ...(version.status === "READY" ? [] : [mark(version.status.replaceAll("_", " ").toLowerCase())]),
        make("button", { type: "button", class: "about", "aria-expanded": "false" }, "About")),
      make("td", { "data-label": "Verdict" },
        make("span", { class: `verdict ${version.verdict}${"*!".includes(version.symbol) ? " alarm" : ""}` }, symbolOf(version.symbol), data.labels[version.verdict]),
        ...(version.compared_by === null ? [] : [make("span", { class: "by" }, `by ${version.compared_by}`)]),
        ...(version.signature ? [make("span", { class: "by", title: version.signature_reason }, version.signature)] : [])),
      make("td", { "data-label": "Storage" }, version.storage),
      make("td", { "data-label": "Baseline" }, ...(version.baseline === null ? [] : baselineOf(version.baseline))),
      make("td", { "data-label": "Content" }, ...version.copies.map((copy) => make("span", { class: "copy" },
        make("span", { class: "side" }, copy.side), make("span", { class: "files" }, copy.files),
        make("span", { class: "size", title: copy.exact_size }, copy.size),
        copy.full_digest ? digestOf(copy.digest, copy.full_digest)[0] : make("span", { class: "absent" }, "no digest")))),
      make("td", { "data-label": "Findings" }, ...version.findings.map((finding) => make("a",
        { class: `severity ${finding.group}`, href: finding.number ? `#finding-${finding.number}` : "#findings", title: finding.title }, finding.rule))),
    ];
    const result = [make("tr", { class: "version" }, ...cells)];
    of.set(result[0], version);
    const details = (title, differences, total, left, right) => (differences.length
      ? [make("details", open ? { open: "" } : {}, make("summary", {}, `${title}: ${number(total)}`),
        ...differenceTable(differences, total, left, right))] : []);
    if (version.reason || version.differences.length || version.baseline_differences.length) {
      const cell = make("td", { colspan: "6" });
      if (version.reason) cell.append(make("p", { class: "reason" }, version.reason));
      cell.append(
        ...details("Differences", version.differences, version.difference_count, "Run model", "Registry model"),
        ...details("Differences from the baseline", version.baseline_differences, version.baseline_difference_count, "Baseline", "Now"));
      result.push(make("tr", { class: "detail" }, cell));
    }
    return result;
  };
  // Where a version's bytes are and what became of it, for one version at a time.
  const aboutOf = (version) => {
    const line = (term, ...value) => make("div", {}, make("dt", {}, term), make("dd", {}, ...value));
    const code = (text) => make("code", {}, text);
    const facts = make("dl", {}, ...version.places.map(([side, place]) => line(side, code(place))),
      ...(version.run_id ? [line("Run", link(page(runPages, "runs", version.run_id), {}, code(version.run_id)))] : []));
    const life = make("ol", { class: "life-of" }, ...version.life.map(({ day, kind, what }) =>
      make("li", { class: kind }, make("time", {}, day), make("span", {}, what))));
    return make("tr", { class: "about" }, make("td", { colspan: "6" }, facts, ...(version.life.length ? [life] : [])));
  };

  const worst = ["critical", "high", "medium", "low", "waived", ""];
  const verdicts = ["mismatch", "unverifiable", "skipped", "equivalent", "same_storage", "match"];
  const statuses = ["changed", "vanished", "new", "not_read", "unchanged", ""];
  const size = (version) => Math.max(0, ...version.copies.map((copy) => Number(copy.exact_size.replace(/\D/g, ""))));
  const ranks = {
    findings: (v) => Math.min(...v.findings.map((finding) => worst.indexOf(finding.group)), worst.length),
    verdict: (v) => verdicts.indexOf(v.verdict),
    baseline: (v) => statuses.indexOf(v.baseline === null ? "" : v.baseline.status),
    size: (v) => -size(v),
  };
  const sorted = (list, by) => {
    if (!ranks[by]) return list;
    const keys = new Map(list.map((version) => [version, ranks[by](version)]));
    return [...list].sort((one, other) => keys.get(one) - keys.get(other));
  };

  // The state is in the address, behind the #, so that a link shows what its sender saw and no server is told.
  const selects = ["verdict", "baseline", "stage", "alias", "group", "sort"].map(byId).filter(Boolean);
  const toggles = [...toolbar.querySelectorAll("button.toggle")];
  const kindOf = (button) => (button.dataset.severity ? "severity" : "life");
  const pressed = (kind) => new Set(toggles.filter((b) => kindOf(b) === kind && b.getAttribute("aria-pressed") === "true").map((b) => b.dataset[kind]));
  const chosen = (id) => byId(id)?.value ?? "";
  const stateText = () => {
    const state = new URLSearchParams();
    if (filter.value.trim()) state.set("q", filter.value.trim());
    for (const kind of ["severity", "life"]) if (pressed(kind).size) state.set(kind, [...pressed(kind)].join(","));
    for (const select of selects) if (select.value) state.set(select.id, select.value);
    return state.toString();
  };
  const readAddress = () => {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) return false;
    const state = new URLSearchParams(hash);
    filter.value = state.get("q") ?? "";
    for (const button of toggles) {
      const wanted = (state.get(kindOf(button)) ?? "").split(",");
      button.setAttribute("aria-pressed", String(wanted.includes(button.dataset[kindOf(button)])));
    }
    for (const select of selects) {
      select.value = state.get(select.id) ?? "";
      if (select.selectedIndex < 0) select.value = "";
    }
    return true;
  };
  const writeAddress = () => {
    const state = stateText();
    try {
      history.replaceState(null, "", state ? `#${state}` : location.pathname + location.search);
    } catch { /* a page inside of another may have no address */ }
  };

  let first = 0;
  let shown = versions;
  const drawPage = () => {
    const last = Math.min(first + data.page_rows, shown.length);
    const grouped = !chosen("sort");
    const drawn = [];
    let model = null;
    for (const version of shown.slice(first, last)) {
      if (grouped && version.name !== model) {
        model = version.name;
        const address = page(modelPages, "models", model);
        drawn.push(make("tr", { class: "model" }, make("th", { scope: "colgroup", colspan: "6" }, address ? link(address, {}, model) : model)));
      }
      drawn.push(...rowsOf(version, false));
    }
    rows.replaceChildren(...drawn);
    byId("table").classList.toggle("grouped", grouped);
    byId("pager").hidden = shown.length <= data.page_rows;
    byId("range").textContent = `${number(first + 1)} to ${number(last)} of ${number(shown.length)}`;
    byId("previous").disabled = first === 0;
    byId("next").disabled = last === shown.length;
  };

  // All findings are in the page as it comes. Of many only the first that match stay in it: a page of ten thousands of
  // elements is slow to search, to print and to read aloud. The others come back when they are asked for.
  const byModel = [...groups.children];
  const byNumber = [...articles].sort((one, other) => one.id.slice("finding-".length) - other.id.slice("finding-".length));
  const severityGroup = (severity) => make("section", { class: "group", "data-group": severity },
    make("h3", {}, make("span", { class: `severity ${severity}` }, severity)));
  const place = new Map(articles.map((article, i) => [article, i]));
  // Given the worst first, so that of many the worst are in the page, whatever they are grouped by.
  const drawFindings = (found) => {
    const severe = chosen("group") === "severity";
    if (!severe) found.sort((one, other) => place.get(one) - place.get(other));
    const sections = new Map(severe ? [] : byModel.map((section) => [section.dataset.group, section]));
    const drawn = new Map();
    for (const article of found) {
      const { severity, model } = article.dataset;
      const key = severe ? severity : severity === "waived" ? "" : model;
      if (!sections.has(key)) sections.set(key, severityGroup(key));
      const section = sections.get(key);
      if (!drawn.has(section)) drawn.set(section, []);
      drawn.get(section).push(article);
    }
    for (const [section, its] of drawn) section.replaceChildren(section.firstElementChild, ...its);
    groups.replaceChildren(...(articles.length ? drawn.keys() : byModel));
  };

  const apply = (limit = data.page_rows) => {
    const text = filter.value.trim(), matches = matcher(text);
    const severities = pressed("severity"), lives = pressed("life");
    const wanted = Object.fromEntries(["verdict", "baseline", "stage", "alias"].map((id) => [id, chosen(id)]));
    const fits = (version) => (!wanted.verdict || version.verdict === wanted.verdict)
      && (!wanted.baseline || version.baseline?.status === wanted.baseline)
      && (!wanted.stage || version.stage === wanted.stage)
      && (!wanted.alias || version.aliases.includes(wanted.alias));
    const filtered = Boolean(text || severities.size || lives.size || Object.values(wanted).some(Boolean));
    const found = !filtered ? versions : versions.filter((version) => fits(version)
      && (!(severities.size || lives.size) || version.findings.some((finding) => (!severities.size || severities.has(finding.group))
        && (!lives.size || lives.has(finding.life))))
      && (!text || matches(indexed(version, versionIndex))));
    shown = sorted(found, chosen("sort"));
    const findings = byNumber.filter((article) => {
      const { model, version, severity, life } = article.dataset;
      const its = versionOf.get(keyOf(model, version));
      return !filtered || ((its ? fits(its) : !Object.values(wanted).some(Boolean))
        && (!severities.size || severities.has(severity)) && (!lives.size || lives.has(life))
        && (!text || matches(indexed(article, articleIndex))));
    });
    drawFindings(findings.slice(0, limit));
    byId("more-findings").hidden = findings.length <= limit;
    byId("all-findings").textContent = `Show all ${count(findings.length, "finding")}`;
    first = 0;
    drawPage();
    byId("showing").textContent = filtered
      ? `${number(findings.length)} of ${count(articles.length, "finding")}, ${number(shown.length)} of ${count(versions.length, "version")}`
      : `${count(articles.length, "finding")}, ${count(versions.length, "version")}`;
    byId("clear").hidden = byId("link").hidden = !filtered;
    byId("no-findings").hidden = findings.length > 0 || !articles.length;
    byId("no-versions").hidden = shown.length > 0 || !versions.length;
  };
  const changed = () => {
    apply();
    writeAddress();
  };

  document.addEventListener("click", (event) => {
    const about = event.target.closest?.("button.about");
    if (!about) return;
    const row = about.closest("tr"), open = about.getAttribute("aria-expanded") === "true";
    about.setAttribute("aria-expanded", String(!open));
    if (open) row.nextElementSibling.remove();
    else row.after(aboutOf(of.get(row)));
  });

  if (!versions.length) return;
  const fill = (id, values) => {
    const list = [...new Set(values)].filter(Boolean).sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
    byId(id).append(...list.map((value) => make("option", { value }, value)));
    byId(id).closest("label").hidden = list.length === 0;
  };
  fill("stage", versions.map((version) => version.stage));
  fill("alias", versions.flatMap((version) => version.aliases));

  filter.addEventListener("input", changed);
  for (const select of selects) select.addEventListener("change", changed);
  for (const button of toggles) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      changed();
    });
  }
  byId("clear").addEventListener("click", () => {
    filter.value = "";
    for (const button of toggles) button.setAttribute("aria-pressed", "false");
    for (const select of selects) if (!["group", "sort"].includes(select.id)) select.value = "";
    changed();
    filter.focus();
  });
  byId("link").addEventListener("click", () => copyText(location.href));
  const turn = (step) => {
    first += step * data.page_rows;
    drawPage();
    byId("versions").scrollIntoView();
  };
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  // A link to a finding that is not in the page shows everything again.
  const reveal = () => {
    const target = articles.find((article) => article.id === location.hash.slice(1));
    if (!target || target.isConnected) return;
    filter.value = "";
    for (const control of [...toggles, ...selects]) control.matches("select") ? (control.value = "") : control.setAttribute("aria-pressed", "false");
    apply(Infinity);
    location.replace(location.href); // once more to the same place, which is there now
  };
  addEventListener("hashchange", () => {
    if (readAddress()) return apply();
    return reveal();
  });
  byId("all-findings").addEventListener("click", () => apply(Infinity));

  // Paper has no filter that a reader could see, so all findings are printed; the versions only where that is asked.
  let ofPaper = false;
  addEventListener("beforeprint", () => {
    drawFindings([...byNumber]);
    ofPaper = byId("print-versions").checked;
    document.body.classList.toggle("all", ofPaper);
    if (ofPaper) rows.replaceChildren(...versions.flatMap((version) => rowsOf(version, true)));
  });
  addEventListener("afterprint", () => apply());

  document.body.classList.add("js");
  toolbar.hidden = byId("beside").hidden = false;
  readAddress();
  apply();
  reveal();
  keepClearOf(toolbar);
})();
