// A card for each case, under the heading of its kind: `titles`, in their order; `describe` gives its words.
const section = document.getElementById("cases");
for (const [kind, title] of Object.entries(titles)) {
  const members = data.cases.map((each, position) => [each, position]).filter(([each]) => each.kind === kind);
  if (!members.length) continue;
  const heading = document.createElement("h2");
  heading.textContent = title;
  const gallery = document.createElement("div");
  gallery.className = "gallery";
  for (const [each, position] of members) {
    const text = describe(each);
    const card = document.createElement("button");
    card.type = "button";
    card.className = "case";
    card.append(Object.assign(document.createElement("div"), { className: "view" }));
    card.append(Object.assign(document.createElement("p"), { textContent: text }));
    draw(each, card.firstChild);
    card.addEventListener("click", () => show(text, each.image_id, position));
    gallery.append(card);
  }
  section.append(heading, gallery);
}
