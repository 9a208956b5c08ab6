// Where the server's program is: the setting, then PATH, then the Python that is selected for the workspace.

import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, isAbsolute, join } from 'node:path';
import { ConfigurationTarget, extensions, window, workspace } from 'vscode';
import { SECTION, serverPath } from './settings';

const NAME = process.platform === 'win32' ? 'starcoder-lsp.exe' : 'starcoder-lsp';
const SLOWEST_PYTHON_MS = 10_000;

export interface Program {
  command: string;
  args: string[];
}

/** What is asked of the extension ms-python.python, where it is installed. */
interface PythonExtension {
  environments?: { getActiveEnvironmentPath(): { path: string } };
}

/** The server's program, or in a sentence why there is none. */
export async function findProgram(): Promise<Program | string> {
  const set = serverPath().replace(/^~(?=[/\\])/, homedir());
  if (set) {
    return (await isProgram(set)) ? { command: set, args: [] } : `${set} (starcoder.server.path) is no program`;
  }
  // A relative entry of PATH would mean the workspace's own folders.
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter(isAbsolute);
  for (const command of folders.map((folder) => join(folder, NAME))) {
    if (await isProgram(command)) {
      return { command, args: [] };
    }
  }
  const python = workspace.isTrusted ? await selectedPython() : undefined;
  // -P: what lies in the current folder is not imported.
  const args = ['-P', '-m', 'starcoder_lsp'];
  if (python && (await runs(python, [...args, '--version']))) {
    return { command: python, args };
  }
  const unasked = workspace.isTrusted ? '' : ', which is not asked in an untrusted workspace';
  return `starcoder-lsp was found neither on PATH nor in the selected Python${unasked}`;
}

/** Tell the person that there is no server and let them choose one; true if it is worth to look again. */
export async function askForProgram(problem: string): Promise<boolean> {
  const choose = 'Choose Program…';
  const again = 'Look Again';
  const answer = await window.showErrorMessage(`StarCoder: ${problem}.`, choose, again);
  if (answer === choose) {
    const [chosen] = (await window.showOpenDialog({ title: 'The program starcoder-lsp' })) ?? [];
    const isNew = chosen && chosen.fsPath !== serverPath();
    if (isNew) {
      await workspace.getConfiguration(SECTION).update('server.path', chosen.fsPath, ConfigurationTarget.Global);
    }
    return chosen !== undefined && !isNew; // the change of the setting does the rest
  }
  return answer === again;
}

async function selectedPython(): Promise<string | undefined> {
  const extension = extensions.getExtension<PythonExtension>('ms-python.python');
  const api = await extension?.activate().then(
    (activated) => activated,
    () => undefined, // it tells the person itself
  );
  const path = api?.environments?.getActiveEnvironmentPath().path;
  if (path && (await isFolder(path))) {
    return process.platform === 'win32' ? join(path, 'python.exe') : join(path, 'bin', 'python');
  }
  return path && isAbsolute(path) ? path : undefined;
}

async function isProgram(path: string): Promise<boolean> {
  return (
    isAbsolute(path) &&
    !(await isFolder(path)) &&
    access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function runs(command: string, args: string[]): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd: homedir(), timeout: SLOWEST_PYTHON_MS }, (error) => resolve(error === null));
  });
}
