"use strict";
// The start page: upload, recent jobs, health. All text goes through textContent.
(() => {
  const at = (id) => document.getElementById(id);
  const element = (name, text, attributes = {}) => {
    const made = Object.assign(document.createElement(name), attributes);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const problemOf = async (answer) => {
    try {
      return await answer.json();
    } catch {
      return { title: `The service answered ${answer.status}`, detail: "" };
    }
  };
  const words = (problem) => [problem.title, problem.detail].filter(Boolean).join(". ");

  // Everything that needs a key: 401 shows the sign-in box.
  const ask = async (path, options) => {
    const answer = await fetch(path, options);
    if (answer.status === 401) at("sign-in").hidden = false;
    return answer;
  };

  at("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await fetch("/session", { method: "POST", body: new URLSearchParams(new FormData(event.target)) });
    if (answer.ok) location.reload();
    else at("key-fault").textContent = words(await problemOf(answer));
  });
  const signOut = at("sign-out");
  if (signOut) {
    signOut.addEventListener("click", async () => {
      await fetch("/session", { method: "DELETE" });
      location.reload();
    });
  }

  // The form.
  const FIELDS = ["file", "inputs", "norm", "gate", "budget_s", "methods"];
  const clear = () => {
    at("fault").replaceChildren();
    for (const name of FIELDS) {
      at(`${name}-fault`).textContent = "";
      at(name).removeAttribute("aria-invalid");
    }
  };
  const blame = (name, text) => {
    at(name).setAttribute("aria-invalid", "true");
    at(`${name}-fault`).textContent = text;
    if (name === "methods") at(name).closest("details").open = true;
    (name === "methods" ? at(name).querySelector("input") : at(name)).focus();
  };
  const explain = (problem) => {
    at("fault").replaceChildren(element("p", words(problem)));
    for (const { pointer = "", detail } of problem.errors || []) {
      const name = pointer.replace(/^#\//, "").split("/")[0];
      if (FIELDS.includes(name)) blame(name, `${detail} (${pointer})`);
      else at("fault").append(element("p", `${pointer}: ${detail}`));
    }
  };
  const shapes = (text) =>
    text.split(";").map((one) => one.trim()).filter(Boolean).map((one) => one.split(/[\s,x×]+/).filter(Boolean).map(Number));
  const request = () => {
    const asked = { norm: at("norm").value };
    const methods = [...document.querySelectorAll("[name=methods]:checked")].map((box) => box.value);
    if (methods.length) asked.methods = methods;
    if (at("inputs").value.trim()) asked.inputs = shapes(at("inputs").value);
    if (at("gate").value) asked.gate = { max_upper: Number(at("gate").value) };
    if (at("budget_s").value) asked.budget_s = Number(at("budget_s").value);
    return asked;
  };
  const submit = async () => {
    const form = new FormData();
    form.append("file", at("file").files[0]);
    form.append("request", new Blob([JSON.stringify(request())], { type: "application/json" }));
    const answer = await ask("/v1/analyze", { method: "POST", body: form });
    if (answer.ok) location.assign((await answer.json()).urls.report);
    else explain(await problemOf(answer));
  };
  at("analysis").addEventListener("submit", async (event) => {
    event.preventDefault();
    clear();
    at("submit").disabled = true;
    at("state").textContent = "The file is sent and read…";
    try {
      await submit();
    } catch {
      at("fault").replaceChildren(element("p", "The service cannot be reached."));
    } finally {
      at("submit").disabled = false;
      at("state").textContent = "";
    }
  });

  // Drag and drop anywhere in the box; a drop beside it must not make the browser open the file.
  const drop = at("drop");
  const over = (event) => {
    event.preventDefault();
    drop.classList.toggle("over", drop.contains(event.target));
  };
  addEventListener("dragover", over);
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (drop.contains(event.target) && event.dataTransfer.files.length) at("file").files = event.dataTransfer.files;
  });

  // Recent jobs and health.
  const names = async () => {
    const answer = await ask("/v1/models?page_size=100");
    const models = answer.ok ? (await answer.json()).models : [];
    return new Map(models.map((model) => [model.id, model.name]));
  };
  // Rounded to the safe side: an upper bound up, a lower one down.
  const NONE = "–";
  const DIGITS = 6;
  const short = (value, isUpper) => {
    const shown = Number(value.toPrecision(DIGITS));
    if (shown === value || isUpper === shown > value) return String(shown);
    const step = 10 ** (Math.floor(Math.log10(value)) - DIGITS + 1);
    return String(Number((shown + (isUpper ? step : -step)).toPrecision(DIGITS)));
  };
  const end = (value, isUpper) => {
    const made = element("td", undefined, { className: "n" });
    made.append(value === null ? NONE : element("data", short(value, isUpper), { value, title: String(value) }));
    return made;
  };
  const row = (job, known) => {
    const made = element("tr");
    const name = element("th", undefined, { scope: "row" });
    const title = known.get(job.model) || job.model.slice(0, 12);
    name.append(element("a", title, { href: job.urls.report, title, className: "cut" }));
    const methods = [job.request.methods].flat().join(", ");
    const asked = element("td");
    asked.append(element("span", methods, { title: methods, className: "cut" }));
    const waits = job.queue ? `, ${job.queue.ahead} ahead` : "";
    const status = element("td", job.status.replace("_", " ") + waits, { className: "keep" });
    const { lower = null, upper = null, offset = null, verdict = null } = job.bracket || {};
    const most = end(upper, true);
    if (offset !== null) most.append(` + ${short(offset, true)}`);
    const time = element("time", new Date(job.created_at).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" }), { dateTime: job.created_at });
    const when = element("td", undefined, { className: "keep" });
    when.append(time);
    made.append(name, status, end(lower, false), most, element("td", verdict || NONE), asked, when);
    return made;
  };
  const recent = async () => {
    const answer = await ask("/v1/jobs?page_size=10");
    if (!answer.ok) return;
    const { jobs } = await answer.json();
    const known = jobs.length ? await names() : new Map();
    at("job-rows").replaceChildren(...jobs.map((job) => row(job, known)));
    at("jobs").hidden = !jobs.length;
    at("no-jobs").hidden = jobs.length > 0;
  };
  const health = async () => {
    const ready = await fetch("/readyz");
    const { checks = {}, detail } = await problemOf(ready);
    const wrong = Object.entries(checks).filter(([, check]) => check !== "ok");
    at("health").textContent = ready.ok
      ? "Ready."
      : [detail, ...wrong.map(([name, check]) => `${name}: ${check}.`)].filter(Boolean).join(" ");
    const answer = await ask("/v1/workers");
    if (!answer.ok) return;
    const { workers } = await answer.json();
    const told = workers.map((one) => `${one.name}: ${one.state}, ${one.device}, confinement ${one.confinement}`);
    at("workers").replaceChildren(...told.map((text) => element("li", text)));
  };
  for (const load of [recent, health]) {
    load().catch(() => {
      at("health").textContent = "The service cannot be reached.";
    });
  }
})();
