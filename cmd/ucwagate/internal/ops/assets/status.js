"use strict";
// Keeps the page up to date. Elements say in data-bind which members of
// /status.json they show: "text:tenants.0.used;d:tenants.0.plot.line".
(() => {
  const every = 2000;
  const bound = [...document.querySelectorAll("[data-bind]")].map((element) => ({
    element,
    parts: element.dataset.bind.split(";").map((part) => {
      const colon = part.indexOf(":");
      return { what: part.slice(0, colon), path: part.slice(colon + 1).split(".") };
    }),
  }));
  const lost = document.getElementById("lost");
  const fine = document.getElementById("fine");
  const list = document.getElementById("errors");
  const pattern = document.getElementById("error").content;

  const show = (status) => {
    for (const { element, parts } of bound) {
      for (const { what, path } of parts) {
        const value = path.reduce((at, key) => at?.[key], status) ?? "";
        if (what !== "text") element.setAttribute(what, value);
        else if (element.textContent !== value) element.textContent = value;
      }
    }
    fine.hidden = status.errors.length > 0;
    list.replaceChildren(...status.errors.map((error) => {
      const item = pattern.cloneNode(true);
      item.querySelector("h3").textContent = error.title;
      item.querySelector("li > p:last-child").textContent = error.todo;
      const texts = [error.count, error.where, error.first, error.last];
      item.querySelectorAll("span").forEach((span, i) => { span.textContent = texts[i]; });
      return item;
    }));
  };

  const poll = async () => {
    try {
      const answer = await fetch("/status.json", { cache: "no-store", signal: AbortSignal.timeout(every * 5) });
      if (!answer.ok) throw new Error(answer.statusText);
      show(await answer.json());
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
    setTimeout(poll, every);
  };
  setTimeout(poll, every);
})();
