// The reading page beside the image: heat-maps open in place, and a disagreement asks for its reason.
"use strict";

// A heat-map beside the image is small; a click, or Enter, shows it large, and Escape closes it.
function enlargeable(figure) {
  const image = figure.querySelector("img");
  const button = Object.assign(document.createElement("button"), { type: "button" });
  image.replaceWith(button);
  button.append(image);
  button.addEventListener("click", () => {
    const large = document.createElement("dialog");
    large.append(image.cloneNode());
    large.addEventListener("click", () => large.close());
    large.addEventListener("close", () => large.remove());
    document.body.append(large);
    large.showModal();
  });
}

document.querySelectorAll("form.heat-map figure").forEach(enlargeable);

for (const form of document.querySelectorAll("form.heat-map")) {
  const button = form.querySelector("button.second");
  if (!button) continue;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams(new FormData(form)),
    });
    if (!answer.ok) return window.location.reload();
    const image = document.createElement("img");
    image.src = (await answer.json()).src;
    image.alt = button.dataset.alt;
    const figure = document.createElement("figure");
    figure.append(image);
    button.replaceWith(figure);
    enlargeable(figure);
  });
}

for (const answer of document.querySelectorAll("fieldset.answer")) {
  const reason = answer.querySelector("textarea");
  const update = () => {
    const chosen = answer.querySelector("input[type=radio]:checked");
    reason.required = Boolean(chosen) && !chosen.value.startsWith("agree:");
  };
  answer.addEventListener("change", update);
  update();
}

if (!document.getElementById("viewer")) setTimeout(() => window.location.reload(), 3000);
