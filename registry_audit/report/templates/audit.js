"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const toolbar = byId("toolbar"), filter = byId("filter"), rows = byId("rows");
  const articles = [...document.querySelectorAll("article.finding")];
  const groups = [...document.querySelectorAll("section.group")];

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
    if (version.baseline !== null) version.baseline = named("baseline", version.baseline);
    const strings = values.flat(Infinity).filter((value) => typeof value === "string");
    version.text = [...strings, data.labels[version.verdict], `${version.name}/${version.version}`,
      `${version.name} version ${version.version}`].join("\n").toLowerCase();
    return version;
  });
  const articleTexts = articles.map((article) => {
    const titles = [...article.querySelectorAll("[title]")].map((element) => element.title);
    return [article.textContent.replace(/\s+/g, " "), ...titles].join(" ").toLowerCase();
  });
  const wanted = () => filter.value.trim().toLowerCase();

  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const symbolOf = (character) => make("span", { class: "symbol", "aria-hidden": "true" }, character);
  const digestOf = (short, full) => (full ? [make("code", { title: full }, short)] : []);
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
    return more > 0 ? [table, make("p", { class: "more" }, `and ${more.toLocaleString("en")} more: see audit.json.`)] : [table];
  };
  const baselineOf = ({ status, label, note, day, told }) => [
    make("span", { class: `baseline ${status}`, ...(told ? { title: told } : {}) }, label),
    ...(note ? [make("span", { class: "since" }, `${note} `, make("span", { class: "day" }, day))] : [])];
  const rowsOf = (version, open) => {
    const mark = (text) => make("span", { class: "mark" }, text);
    const cells = [
      make("th", { scope: "row", "data-label": "Version" }, make("span", { class: "name" }, version.name),
        make("span", { class: "number" }, ` version ${version.version}`), ...version.marks.map(mark),
        ...(version.status === "READY" ? [] : [mark(version.status)])),
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
    const details = (title, differences, total, left, right) => (differences.length
      ? [make("details", open ? { open: "" } : {}, make("summary", {}, `${title}: ${total.toLocaleString("en")}`),
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

  let page = 0;
  let shown = versions;
  const pressed = (kind) => new Set([...toolbar.querySelectorAll(`[data-${kind}][aria-pressed=true]`)].map((b) => b.dataset[kind]));
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  const drawPage = () => {
    const first = page * data.page_rows, last = Math.min(first + data.page_rows, shown.length);
    rows.replaceChildren(...shown.slice(first, last).flatMap((version) => rowsOf(version, false)));
    byId("pager").hidden = shown.length <= data.page_rows;
    byId("range").textContent = `${(first + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
    byId("previous").disabled = page === 0;
    byId("next").disabled = last === shown.length;
  };
  const apply = () => {
    const text = wanted(), verdicts = pressed("verdict"), severities = pressed("severity"), lives = pressed("life");
    shown = versions.filter((version) => version.text.includes(text)
      && (!verdicts.size || verdicts.has(version.verdict))
      && (!(severities.size || lives.size) || version.findings.some((finding) => (!severities.size || severities.has(finding.group))
        && (!lives.size || lives.has(finding.life)))));
    let findings = 0;
    articles.forEach((article, i) => {
      const fits = articleTexts[i].includes(text)
        && (!verdicts.size || verdicts.has(article.dataset.verdict))
        && (!severities.size || severities.has(article.dataset.severity))
        && (!lives.size || lives.has(article.dataset.life));
      article.hidden = !fits;
      findings += fits;
    });
    for (const group of groups) group.hidden = !group.querySelector("article:not([hidden])");
    page = 0;
    drawPage();
    const filtered = Boolean(text || verdicts.size || severities.size || lives.size);
    byId("showing").textContent = filtered
      ? `${findings.toLocaleString("en")} of ${count(articles.length, "finding")} and ${shown.length.toLocaleString("en")} of ${count(versions.length, "version")} match.`
      : `${count(articles.length, "finding")}, ${count(versions.length, "version")}.`;
    byId("clear").hidden = !filtered;
    byId("no-findings").hidden = findings > 0 || !articles.length;
    byId("no-versions").hidden = shown.length > 0 || !versions.length;
  };
  const turn = (step) => {
    page += step;
    drawPage();
    byId("versions").scrollIntoView();
  };

  filter.addEventListener("input", apply);
  for (const button of toolbar.querySelectorAll("button.toggle")) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      apply();
    });
  }
  byId("clear").addEventListener("click", () => {
    filter.value = "";
    for (const button of toolbar.querySelectorAll("button.toggle")) button.setAttribute("aria-pressed", "false");
    apply();
    filter.focus();
  });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));

  if (!versions.length) return;
  // Paper has no filter that a reader could see, so the whole audit is printed.
  addEventListener("beforeprint", () => {
    for (const element of [...articles, ...groups]) element.hidden = false;
    rows.replaceChildren(...versions.flatMap((version) => rowsOf(version, true)));
  });
  addEventListener("afterprint", apply);

  toolbar.hidden = false;
  apply();
})();
