(() => {
  const data = JSON.parse(byId("data").textContent);
  const toolbar = byId("toolbar"), filter = byId("filter"), verdict = byId("verdict"), rows = byId("rows");
  const articles = [...document.querySelectorAll("article.finding")];
  const toggles = [...toolbar.querySelectorAll("button.toggle")];

  // A version is written NAME/V; the last slash separates.
  const namesOf = (...labels) => labels.filter(Boolean).flatMap((label) => label.split(" -> "));
  const modelOf = (label) => label.slice(0, label.lastIndexOf("/") + 1 || undefined).replace(/\/$/, "");
  const numberOf = (label) => label.slice(label.lastIndexOf("/") + 1);
  const index = (labels, texts, words) => indexOf(modelOf(labels[0] ?? ""), labels.map(numberOf), [...labels, ...texts],
    [...labels, ...texts, ...words]);
  const cards = articles.map((article) => ({
    article,
    severity: article.dataset.severity,
    index: index(namesOf(article.dataset.label),
      [...article.querySelectorAll(".rule, .message, .notes li")].map((text) => text.textContent),
      [article.dataset.severity, article.closest("section").querySelector("h3").textContent]),
  }));
  const pairs = data.pairs.map(([key, source, target, how]) => ({ key, source, target, how }));
  const pairIndex = (pair) => (pair.index ??= index(namesOf(pair.source, pair.target), [pair.how], [data.words[pair.key][1]]));

  const labelOf = (text) => text || make("span", { class: "absent" }, "none");
  const rowOf = (pair) => {
    const [symbol, label] = data.words[pair.key];
    return make("tr", { class: "version" },
      make("th", { scope: "row", "data-label": "Source" }, labelOf(pair.source)),
      make("td", { "data-label": "Target" }, labelOf(pair.target)),
      make("td", { "data-label": "Result" }, make("span", { class: `verdict ${pair.key}` },
        make("span", { class: "symbol", "aria-hidden": "true" }, symbol), label)),
      make("td", { "data-label": "Found by" }, pair.how));
  };
  let first = 0;
  let shown = pairs;
  const drawPage = () => {
    const last = Math.min(first + data.page_rows, shown.length);
    rows.replaceChildren(...shown.slice(first, last).map(rowOf));
    byId("pager").hidden = shown.length <= data.page_rows;
    byId("range").textContent = `${number(first + 1)} to ${number(last)} of ${number(shown.length)}`;
    byId("previous").disabled = first === 0;
    byId("next").disabled = last === shown.length;
  };

  const pressed = () => new Set(toggles.filter((button) => button.getAttribute("aria-pressed") === "true").map((button) => button.dataset.severity));
  const apply = () => {
    const text = filter.value.trim(), matches = matcher(text), severities = pressed();
    const filtered = Boolean(text || severities.size || verdict.value);
    let findings = 0;
    for (const card of cards) {
      const stays = (!severities.size || severities.has(card.severity)) && (!text || matches(card.index));
      card.article.hidden = !stays;
      findings += stays;
    }
    for (const section of byId("groups").children) section.hidden = cards.length > 0 && !section.querySelector("article:not([hidden])");
    shown = pairs.filter((pair) => (!verdict.value || pair.key === verdict.value) && (!text || matches(pairIndex(pair))));
    first = 0;
    drawPage();
    byId("showing").textContent = filtered
      ? `${number(findings)} of ${count(cards.length, "finding")}, ${number(shown.length)} of ${count(pairs.length, "version")}`
      : `${count(cards.length, "finding")}, ${count(pairs.length, "version")}`;
    byId("clear").hidden = byId("link").hidden = !filtered;
    byId("no-findings").hidden = findings > 0 || !cards.length;
    byId("no-versions").hidden = shown.length > 0 || !pairs.length;
  };

  // The state is in the address, behind the #, so that a link shows what its sender saw.
  const readAddress = () => {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) return false;
    const state = new URLSearchParams(hash), wanted = (state.get("severity") ?? "").split(",");
    filter.value = state.get("q") ?? "";
    verdict.value = state.get("verdict") ?? "";
    if (verdict.selectedIndex < 0) verdict.value = "";
    for (const button of toggles) button.setAttribute("aria-pressed", String(wanted.includes(button.dataset.severity)));
    return true;
  };
  const changed = () => {
    apply();
    const state = new URLSearchParams();
    if (filter.value.trim()) state.set("q", filter.value.trim());
    if (pressed().size) state.set("severity", [...pressed()].join(","));
    if (verdict.value) state.set("verdict", verdict.value);
    try {
      history.replaceState(null, "", state.size ? `#${state}` : location.pathname + location.search);
    } catch { /* a page inside of another may have no address */ }
  };

  for (const button of toggles) {
    const own = cards.filter((card) => card.severity === button.dataset.severity).length;
    button.lastElementChild.textContent = number(own);
    button.hidden = own === 0;
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      changed();
    });
  }
  filter.addEventListener("input", changed);
  verdict.addEventListener("change", changed);
  byId("clear").addEventListener("click", () => {
    filter.value = verdict.value = "";
    for (const button of toggles) button.setAttribute("aria-pressed", "false");
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
  addEventListener("hashchange", () => { if (readAddress()) apply(); });

  // Paper has no filter that a reader could see: every finding is printed, and the pairs where that is asked.
  addEventListener("beforeprint", () => {
    for (const element of [...articles, ...byId("groups").children]) element.hidden = false;
    const all = byId("print-versions").checked;
    document.body.classList.toggle("all", all);
    if (all) rows.replaceChildren(...pairs.map(rowOf));
  });
  addEventListener("afterprint", apply);

  document.body.classList.add("js");
  toolbar.hidden = byId("beside").hidden = false;
  readAddress();
  apply();
  keepClearOf(toolbar);
})();
