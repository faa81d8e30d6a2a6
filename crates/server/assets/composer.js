// Where one writes: grows to six lines, Enter sends, Shift+Enter breaks, what was typed is never lost.

const LINES = 6;
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
      this.grow();
      this.draft(field.value);
      this.tellTyping();
    });
    field.addEventListener("blur", () => this.stopTyping());
  }

  show(text, placeholder) {
    this.stopTyping();
    this.field.value = text;
    this.field.placeholder = placeholder;
    this.grow();
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

  grow() {
    const { field } = this;
    field.style.height = "auto";
    const style = getComputedStyle(field);
    const most = parseFloat(style.lineHeight) * LINES + parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
    field.style.height = `${Math.min(field.scrollHeight, most)}px`;
    field.style.overflowY = field.scrollHeight > most ? "auto" : "hidden";
    this.form.classList.toggle("empty", !field.value.trim());
  }
}
