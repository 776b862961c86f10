// What Gradio's own parts lack: alternative texts of their pictures, and choices that the arrow keys move through.
// ALTERNATIVES, by the id of a part, and CHOICES, ids, are put in front of this by `flipagents.serve.page_layout`.

function complete() {
  for (const [part, text] of Object.entries(ALTERNATIVES)) {
    for (const picture of document.querySelectorAll(`#${part} img`)) {
      if (picture.alt !== text) picture.alt = text;
    }
  }
  for (const part of CHOICES) {
    for (const button of document.querySelectorAll(`#${part} input[type=radio]`)) {
      if (button.name !== part) button.name = part; // of one name they are one choice
    }
  }
}

new MutationObserver(complete).observe(document.body, {
  childList: true,
  subtree: true,
  attributeFilter: ["src", "name"],
});
complete();
