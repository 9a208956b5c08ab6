// What the server tells a person, as pages: Markdown in VS Code's own preview, or HTML.

import { commands, type Disposable, EventEmitter, Uri, ViewColumn, type WebviewPanel, window, workspace } from 'vscode';

/** The answer to `starcoder/explain`. */
export interface Explanation {
  language: string;
  format: string;
  budgetTokens: number;
  promptTokens: number;
  prompt: string;
  segments: { kind: string; path: string; startLine: number; endLine: number; tokens: number; why: string }[];
  filters: { name: string; effect: string }[];
  timingsMs: Record<string, number>;
}

const SCHEME = 'starcoder-lsp';

export interface Pages extends Disposable {
  /** Show a page; one of the same name is replaced. */
  show(name: string, markdown: string): Promise<void>;
  /** Show a page that is HTML and has no scripts; the last one is replaced. */
  showHtml(title: string, html: string): void;
}

export function pages(): Pages {
  let panel: WebviewPanel | undefined;
  const texts = new Map<string, string>();
  const changes = new EventEmitter<Uri>();
  const provider = { onDidChange: changes.event, provideTextDocumentContent: (uri: Uri) => texts.get(uri.path) ?? '' };
  const registration = workspace.registerTextDocumentContentProvider(SCHEME, provider);
  return {
    async show(name, markdown) {
      const uri = Uri.from({ scheme: SCHEME, path: `/${name}.md` });
      texts.set(uri.path, markdown);
      changes.fire(uri);
      await commands.executeCommand('markdown.showPreviewToSide', uri);
    },
    showHtml(title, html) {
      if (!panel) {
        panel = window.createWebviewPanel(SCHEME, title, ViewColumn.Beside, { enableScripts: false });
        panel.onDidDispose(() => {
          panel = undefined;
        });
      }
      panel.webview.html = html;
      panel.reveal();
    },
    dispose: () => {
      panel?.dispose();
      registration.dispose();
      changes.dispose();
    },
  };
}

export function explanationPage(place: string, explained: Explanation): string {
  const { language, format, promptTokens, budgetTokens, segments, filters, timingsMs, prompt } = explained;
  const where = (s: Explanation['segments'][number]): string => `${s.path}:${s.startLine}-${s.endLine}`;
  return [
    `# What the model sees at ${escaped(place)}`,
    `${escaped(language)}, ${escaped(format)}, ${promptTokens} tokens in the prompt, at most ${budgetTokens} of text`,
    table(['what', 'where', 'tokens', 'why'], segments.map((s) => [s.kind, where(s), s.tokens, s.why])),
    '## What the filters did',
    table(['filter', 'effect'], filters.map((f) => [f.name, f.effect])),
    '## Milliseconds',
    table(['stage', 'ms'], Object.entries(timingsMs)),
    '## The prompt as sent',
    fenced(prompt),
  ].join('\n\n');
}

function table(head: string[], rows: unknown[][]): string {
  const line = (cells: unknown[]): string => `| ${cells.map((cell) => escaped(String(cell))).join(' | ')} |`;
  return [line(head), `|${' --- |'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

/** A text that Markdown shows as it is, on one line. */
function escaped(text: string): string {
  return text.replace(/\s/g, ' ').replace(/[!-/:-@[-`{-~]/g, '\\$&');
}

/** A text as a block that it cannot end itself. */
function fenced(text: string): string {
  const longest = Math.max(2, ...Array.from(text.matchAll(/`+/g), ([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}text\n${text}\n${fence}`;
}
