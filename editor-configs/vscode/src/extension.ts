// Where VS Code begins and ends: one server for the window, the commands, and what is told to the server.

import { commands, ConfigurationTarget, type ExtensionContext, languages, type TextEditor, window, workspace } from 'vscode';
import { type LanguageClient, State } from 'vscode-languageclient/node';
import { acceptance } from './acceptance';
import { createClient, DOCUMENTS } from './client';
import { askForProgram, findProgram } from './program';
import { personalNames, SECTION, settingNames } from './settings';
import { sentence, showMenu, type Status, statusBar } from './status';
import { type Explanation, explanationPage, pages } from './views';

const SLOWEST_START_MS = 10_000;

let client: LanguageClient | undefined;
let stopped = Promise.resolve();
let nStarts = 0;

export function activate(context: ExtensionContext): void {
  const output = window.createOutputChannel('StarCoder', { log: true });
  const status = statusBar();
  const names = settingNames(context);
  const suggestions = acceptance(tell);
  const views = pages();
  let setAtStart: string[] = [];

  /** Start the server, anew if there is one; of several wishes at a time the newest counts. */
  async function restart(): Promise<void> {
    nStarts += 1;
    const mine = nStarts;
    setAtStart = personalNames(names.others);
    await stopServer();
    const program = await findProgram();
    if (mine !== nStarts) {
      return;
    }
    if (typeof program === 'string') {
      status.show({ kind: 'error', message: program, model: null });
      void told(async () => ((await askForProgram(program)) ? restart() : undefined));
      return;
    }
    output.info(`starting ${program.command} ${program.args.join(' ')}`);
    const started = createClient(program, { output, names, status, suggestions, isCurrent: () => client === started });
    client = started;
    await started.start().catch(() => {}); // the client itself tells the person why
    focus(window.activeTextEditor);
  }

  async function showStats(): Promise<void> {
    const { html } = await execute<{ html: string }>('showStats');
    views.showHtml('StarCoder: Does It Help?', html);
  }

  async function explain(): Promise<void> {
    const editor = window.activeTextEditor;
    if (!editor) {
      throw new Error('no file is open');
    }
    const { document, selection } = editor;
    const { line, character } = selection.active;
    const place = `${workspace.asRelativePath(document.uri)}:${line + 1}:${character + 1}`;
    const textDocument = { uri: document.uri.toString() };
    const answer = await ask<Explanation | null>('starcoder/explain', { textDocument, position: { line, character } });
    if (!answer) {
      throw new Error('nothing is completed here, or the model is not loaded');
    }
    await views.show('Explanation', explanationPage(place, answer));
  }

  const toDo: Record<string, () => Promise<unknown>> = {
    menu: showMenu,
    restartServer: restart,
    toggle: () => execute('toggle'),
    restartModel: () => execute('restartModel'),
    clearCache: () => execute('clearCache'),
    showStatus: async () => window.showInformationMessage(sentence(await execute<Status>('showStatus'))),
    exportDiagnostics: async () => {
      const { markdown } = await execute<{ markdown: string }>('exportDiagnostics');
      await window.showTextDocument(await workspace.openTextDocument({ language: 'markdown', content: markdown }));
    },
    showOutput: async () => output.show(),
    pullModel: () => execute('pullModel'),
    selectModel,
    showStats,
    explain,
  };
  for (const [name, run] of Object.entries(toDo)) {
    context.subscriptions.push(commands.registerCommand(`starcoder-lsp.${name}`, () => told(run)));
  }

  // The server learns these when it starts; of all others it asks when it is told that they changed. What it hears then
  // may be the workspace's, so that it raises no limit.
  const learnt = ['server.path', 'completion.asMenuItems', ...names.trusted, ...names.lowered];
  const whenStarting = learnt.map((name) => `${SECTION}.${name}`);
  context.subscriptions.push(
    output,
    status,
    suggestions,
    views,
    window.onDidChangeActiveTextEditor(focus),
    workspace.onDidGrantWorkspaceTrust(() => (client ? undefined : told(restart))), // now the selected Python is asked
    workspace.onDidChangeConfiguration((event) => {
      // What the server was given when it started stays, unless it hears of another value: of a reset one it does not.
      const isReset = personalNames(setAtStart).length < setAtStart.length;
      if (isReset || whenStarting.some((name) => event.affectsConfiguration(name))) {
        void told(restart);
      }
    }),
  );
  void told(restart);
}

export function deactivate(): Promise<void> {
  nStarts += 1;
  return stopServer();
}

function stopServer(): Promise<void> {
  const server = client;
  client = undefined; // first: from here on it is not heard
  if (server) {
    stopped = end(server);
  }
  return stopped;
}

/** End a server. One that starts cannot be told, but is waited for; one that does not answer is killed. */
async function end(server: LanguageClient): Promise<void> {
  if (server.state === State.Starting) {
    const late = new Promise((resolve) => setTimeout(resolve, SLOWEST_START_MS));
    await Promise.race([server.start(), late]).catch(() => {});
  }
  await server.dispose().catch(() => {}); // it may have ended already
}

/** Do what a person asked for, and tell them if it fails. */
async function told(run: () => Promise<unknown>): Promise<void> {
  await run().catch((error: Error) => window.showErrorMessage(`StarCoder: ${error.message}`));
}

/** The person's own settings take the file; the server starts anew with it. */
async function selectModel(): Promise<void> {
  const [chosen] = (await window.showOpenDialog({ title: 'A model in GGUF format', filters: { GGUF: ['gguf'] } })) ?? [];
  if (chosen) {
    await workspace.getConfiguration(SECTION).update('model.path', chosen.fsPath, ConfigurationTarget.Global);
  }
}

function focus(editor: TextEditor | undefined): void {
  if (editor && client && languages.match(client.protocol2CodeConverter.asDocumentSelector(DOCUMENTS), editor.document)) {
    tell('textDocument/didFocus', { textDocument: { uri: editor.document.uri.toString() } });
  }
}

function tell(method: string, params: object): void {
  if (client?.isRunning()) {
    client.sendNotification(method, params).catch(() => {}); // nobody is told that the server ends
  }
}

function ask<T>(method: string, params?: object): Promise<T> {
  if (!client?.isRunning()) {
    return Promise.reject(new Error('the server does not run'));
  }
  return params ? client.sendRequest<T>(method, params) : client.sendRequest<T>(method);
}

function execute<T>(command: string): Promise<T> {
  return ask<T>('workspace/executeCommand', { command: `${SECTION}.${command}` });
}
