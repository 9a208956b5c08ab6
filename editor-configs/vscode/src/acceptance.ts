// What becomes of suggestions, told to the server. VS Code says only when a whole one was accepted, by running its
// command; what is shown and what is accepted word by word is seen from the answers and the edits after them.

import { type Disposable, type InlineCompletionItem, type TextDocument, type TextDocumentChangeEvent, workspace } from 'vscode';

type Tell = (method: string, params: object) => void;

/** The suggestion that is shown: what of it is not in the document yet, and at which offset that belongs. */
interface Shown {
  document: TextDocument;
  item: object;
  text: string;
  rest: string;
  offset: number;
}

export interface Acceptance extends Disposable {
  /** A suggestion was shown at an offset, in UTF-16 units as all offsets here. */
  show(document: TextDocument, offset: number, item: InlineCompletionItem): void;
}

export function acceptance(tell: Tell): Acceptance {
  let shown: Shown | undefined;

  const changed = ({ document, contentChanges: [change, ...more] }: TextDocumentChangeEvent): void => {
    if (!shown || !change || document !== shown.document) {
      return;
    }
    const { item, rest, text, offset } = shown;
    const isHere = more.length === 0 && change.rangeOffset === offset && change.text !== '';
    const isPart = isHere && change.text.length < rest.length && rest.startsWith(change.text);
    if (!isPart) {
      shown = undefined;
      if (isHere && change.text[0] !== rest[0]) {
        tell('starcoder/didReject', { items: [item] });
      }
      return;
    }
    shown.rest = rest.slice(change.text.length);
    shown.offset = offset + change.text.length;
    if (change.text.length > 1) {
      const acceptedLength = text.length - shown.rest.length;
      tell('textDocument/didPartiallyAcceptCompletion', { item, acceptedLength });
    }
  };

  const listener = workspace.onDidChangeTextDocument(changed);
  return {
    show(document, offset, { command, insertText }) {
      const item = { command: { command: command?.command, arguments: command?.arguments } };
      const text = typeof insertText === 'string' ? insertText : insertText.value;
      shown = { document, item, text, rest: text, offset };
      tell('textDocument/didShowCompletion', { item });
    },
    dispose: () => listener.dispose(),
  };
}
