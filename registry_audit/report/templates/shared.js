"use strict";
// What the scripts of both report pages share.
const byId = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// What a search looks through. Names, paths and digests match anywhere; words only from their beginning, so that
// `changed` does not find `unchanged`; a number alone is the number of a version.
const indexOf = (name, versions, names, words) => ({
  versions: versions.map((version) => version.toLowerCase()),
  names: [name, ...versions.map((version) => `${name}/${version}`), ...names].join("\n").toLowerCase() + "\n",
  words: ` ${words.join(" ").toLowerCase().replace(/[^\p{L}\p{N}@]+/gu, " ")} `,
});
const matcher = (text) => {
  const tests = text.toLowerCase().split(/\s+/).filter(Boolean).map((token) => {
    if (/^\d+$/.test(token)) return (index) => index.versions.includes(token);
    if (/^\S+\/\d+$/.test(token)) return (index) => index.names.includes(`${token}\n`);
    const word = token.replace(/[^\p{L}\p{N}@]+/gu, " ").trim();
    return /^\p{L}+$/u.test(token)
      ? (index) => index.words.includes(` ${token}`) || index.names.split("\n", 1)[0].includes(token)
      : (index) => index.names.includes(token) || (word !== "" && index.words.includes(` ${word}`));
  });
  return (index) => tests.every((test) => test(index));
};

// One click copies; where the browser has no clipboard for this page, the old way does.
let saying = 0;
const say = (text) => {
  byId("said").textContent = text;
  clearTimeout(saying);
  saying = setTimeout(() => { byId("said").textContent = ""; }, 2500);
};
const copyText = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { readonly: "" }, text);
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) return say("Not copied: this browser does not allow it");
  }
  return say("Copied");
};
document.addEventListener("click", (event) => {
  const copier = event.target.closest?.("[data-copy]");
  if (!copier) return;
  if (copier.classList.contains("digest")) {
    copier.classList.add("open");
    copier.firstElementChild.textContent = copier.dataset.copy;
  }
  copyText(copier.dataset.copy);
});

// Whatever is jumped to or focused stays clear of the bar, however many lines it takes.
const keepClearOf = (bar) => {
  const measure = () => {
    const sticky = getComputedStyle(bar).position === "sticky";
    document.documentElement.style.scrollPaddingTop = sticky ? `${bar.offsetHeight + 12}px` : "";
  };
  measure();
  new ResizeObserver(measure).observe(bar);
  byId(location.hash.slice(1))?.scrollIntoView(); // the browser jumped there before there was a bar
};
