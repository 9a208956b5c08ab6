// The item in the status bar, and the menu behind it.

import { commands, type Disposable, StatusBarAlignment, ThemeColor, window } from 'vscode';

/** The parameters of `starcoder/didChangeStatus`. */
export interface Status {
  kind: 'loading' | 'ready' | 'thinking' | 'off' | 'error';
  message: string;
  model: string | null;
}

const ICONS: Record<Status['kind'], string> = {
  loading: '$(loading~spin)',
  ready: '$(sparkle)',
  thinking: '$(ellipsis)',
  off: '$(circle-slash)',
  error: '$(error)',
};

const MENU: [label: string, command: string][] = [
  ['$(circle-slash) Turn Suggestions On or Off', 'toggle'],
  ['$(refresh) Restart Model', 'restartModel'],
  ['$(debug-restart) Restart Server', 'restartServer'],
  ['$(cloud-download) Get a Model…', 'pullModel'],
  ['$(file-binary) Select Model File…', 'selectModel'],
  ['$(info) Show Status', 'showStatus'],
  ['$(graph) Show Statistics', 'showStats'],
  ['$(eye) Explain What the Model Sees Here', 'explain'],
  ['$(export) Export Diagnostics', 'exportDiagnostics'],
  ['$(output) Show Output', 'showOutput'],
];

export interface StatusBar extends Disposable {
  show(status: Status): void;
}

export function statusBar(): StatusBar {
  const item = window.createStatusBarItem('starcoder-lsp.status', StatusBarAlignment.Right, 100);
  item.name = 'StarCoder';
  item.command = 'starcoder-lsp.menu';
  item.show();
  const show = (status: Status): void => {
    item.text = `${ICONS[status.kind]} StarCoder`;
    item.tooltip = sentence(status);
    item.accessibilityInformation = { label: sentence(status) };
    item.backgroundColor = status.kind === 'error' ? new ThemeColor('statusBarItem.errorBackground') : undefined;
  };
  show({ kind: 'loading', message: 'the server starts', model: null });
  return { show, dispose: () => item.dispose() };
}

/** A status in words. */
export function sentence(status: Status): string {
  return `StarCoder: ${[status.kind, status.model, status.message].filter(Boolean).join(', ')}`;
}

export async function showMenu(): Promise<void> {
  const items = MENU.map(([label, command]) => ({ label, command }));
  const chosen = await window.showQuickPick(items, { title: 'StarCoder' });
  if (chosen) {
    await commands.executeCommand(`starcoder-lsp.${chosen.command}`);
  }
}
