// Pictures that Gradio shows have no alternative text of their own: they get it here, by the id of their part.
// ALTERNATIVES is put in front of this by `flipagents.page_layout`.

function name_pictures() {
  for (const [part, text] of Object.entries(ALTERNATIVES)) {
    for (const picture of document.querySelectorAll(`#${part} img`)) {
      if (picture.alt !== text) picture.alt = text;
    }
  }
}

new MutationObserver(name_pictures).observe(document.body, {
  childList: true,
  subtree: true,
  attributeFilter: ["src"],
});
name_pictures();
