// The language client: which documents and which settings it sends, and what it hears besides.

import { homedir } from 'node:os';
import { commands, type LogOutputChannel, Uri, workspace } from 'vscode';
import {
  CloseAction,
  LanguageClient,
  type LanguageClientOptions,
  State,
  type StaticFeature,
} from 'vscode-languageclient/node';
import type { Acceptance } from './acceptance';
import type { Program } from './program';
import { personalSettings, SECTION, type SettingNames, workspaceSettings } from './settings';
import type { Status, StatusBar } from './status';

export const DOCUMENTS = [{ scheme: 'file' }, { scheme: 'untitled' }, { notebook: '*' }];

export interface Parts {
  output: LogOutputChannel;
  names: SettingNames;
  status: StatusBar;
  suggestions: Acceptance;
  /** Whether this client is still the one that counts: another may have taken its place. */
  isCurrent: () => boolean;
}

/** A client of the server, not started. */
export function createClient(program: Program, { output, names, status, suggestions, isCurrent }: Parts): LanguageClient {
  /** Tell the server of a document. One that has ended just now is told of all of them when it is there again. */
  const tell = <T>(data: T, next: (data: T) => Promise<void>): Promise<void> =>
    next(data).catch((error: unknown) => output.warn(String(error)));
  const options: LanguageClientOptions = {
    documentSelector: DOCUMENTS,
    outputChannel: output,
    initializationOptions: { [SECTION]: personalSettings([...names.trusted, ...names.others]) },
    initializationFailedHandler: () => false, // the client tells of it once more
    errorHandler: {
      error: (error, message, count) => byDefault.error(error, message, count),
      closed: () => (isCurrent() ? byDefault.closed() : { action: CloseAction.DoNotRestart, handled: true }),
    },
    middleware: {
      didOpen: tell,
      didChange: tell,
      didClose: tell,
      workspace: {
        didChangeConfiguration: async (_sections, next) => {
          if (isCurrent() && client.isRunning()) {
            await next(undefined); // only that they changed: the server asks for them then
          }
        },
        configuration: ({ items }) =>
          items.map(({ scopeUri }) => workspaceSettings(names.others, scopeUri ? Uri.parse(scopeUri) : null)),
      },
      provideInlineCompletionItems: async (document, position, context, token, next) => {
        const answer = await next(document, position, context, token);
        const [first] = (Array.isArray(answer) ? answer : answer?.items) ?? [];
        if (first && !token.isCancellationRequested) {
          suggestions.show(document, document.offsetAt(first.range?.start ?? position), first);
        }
        return answer;
      },
      resolveCodeAction: async (item, token, next) => {
        const action = await next(item, token);
        const [first] = action?.edit?.entries() ?? [];
        if (action && first && !workspace.textDocuments.some(({ uri }) => uri.toString() === first[0].toString())) {
          action.command = { title: 'Show the File', command: 'vscode.open', arguments: [first[0]] }; // VS Code would not
        }
        return action;
      },
    },
  };
  // Not in the workspace's folder: nothing there may be taken for a part of the program.
  const client = new LanguageClient('starcoder', 'StarCoder', { ...program, options: { cwd: homedir() } }, options);
  const byDefault = client.createDefaultErrorHandler();
  client.registerFeature(SHOWS_STATUS);
  const show = (now: Status): void => {
    if (isCurrent()) {
      status.show(now);
    }
  };
  client.onNotification('starcoder/didChangeStatus', show);
  client.onNotification('starcoder/selectModel', () => void commands.executeCommand('starcoder-lsp.selectModel'));
  client.onDidChangeState(({ newState }) => {
    if (newState === State.Starting) {
      show({ kind: 'loading', message: 'the server starts', model: null });
    } else if (newState !== State.Running) {
      show({ kind: 'error', message: 'the server does not run, the output says why', model: null });
    }
  });
  return client;
}

/** Says in the client's capabilities that it wants to hear of the server's status, and has a dialog for files. */
const SHOWS_STATUS: StaticFeature = {
  fillClientCapabilities: (capabilities) => {
    capabilities.experimental = { starcoder: { status: true, selectModel: true } };
  },
  initialize: () => {},
  getState: () => ({ kind: 'static' }),
  clear: () => {},
};
