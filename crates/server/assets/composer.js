// Where one writes: grows to six lines, Enter sends, Shift+Enter breaks, what was typed is never lost.

const TYPING_EVERY_MS = 3_000;

export class Composer {
  /** `send(text)` takes the message, `typing(on)` the news of it, `draft(text)` is called as the text changes. */
  constructor({ form, field, send, typing, draft }) {
    Object.assign(this, { form, field, send, typing, draft });
    this.typedAt = 0;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    field.addEventListener("keydown", (event) => {
      // While a word is being composed (Japanese, Chinese, Korean) Enter belongs to the input method.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.submit();
    });
    field.addEventListener("input", () => {
      this.mirror();
      this.draft(field.value);
      this.tellTyping();
    });
    field.addEventListener("blur", () => this.stopTyping());
  }

  show(text, placeholder) {
    this.stopTyping();
    this.field.value = text;
    this.field.placeholder = placeholder;
    this.mirror();
  }

  /** Brings back a message to be written anew, before what stands there already. */
  bring(text) {
    const { field } = this;
    this.show([text, field.value].filter(Boolean).join("\n"), field.placeholder);
    this.draft(field.value);
    field.focus();
    field.setSelectionRange(text.length, text.length);
  }

  submit() {
    const text = this.field.value.replace(/^\s*\n|\s+$/g, "");
    if (!text) return;
    this.send(text);
    this.stopTyping();
    this.show("", this.field.placeholder);
    this.draft("");
    this.field.focus();
  }

  tellTyping() {
    if (!this.field.value.trim()) return this.stopTyping();
    if (Date.now() - this.typedAt < TYPING_EVERY_MS) return;
    this.typedAt = Date.now();
    this.typing(true);
  }

  stopTyping() {
    if (this.typedAt) this.typing(false);
    this.typedAt = 0;
  }

  /** The style sheet gives the field the size of this copy, so nothing is measured and no layout comes between. */
  mirror() {
    this.field.parentElement.dataset.text = this.field.value;
    this.form.classList.toggle("empty", !this.field.value.trim());
  }
}
