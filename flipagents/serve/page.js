// Accessibility that Gradio lacks: alternative texts of pictures, and arrow keys in radio groups.
// `flipagents.serve.page_layout` prepends ALTERNATIVES, texts by part id, and CHOICES, ids of radio groups.

function complete() {
  for (const [part, text] of Object.entries(ALTERNATIVES)) {
    for (const picture of document.querySelectorAll(`#${part} img`)) {
      if (picture.alt !== text) picture.alt = text;
    }
  }
  for (const part of CHOICES) {
    for (const button of document.querySelectorAll(`#${part} input[type=radio]`)) {
      if (button.name !== part) button.name = part; // one name makes one group
    }
  }
}

new MutationObserver(complete).observe(document.body, {
  childList: true,
  subtree: true,
  attributeFilter: ["src", "name"],
});
complete();
