// What the person set, in the shape in which the server reads it. Nothing is sent that still has its default, so that
// the person's own starcoder-lsp.toml is not overruled by defaults.

import { type ExtensionContext, type Uri, workspace } from 'vscode';

export const SECTION = 'starcoder';

/** Settings by group and name, as in the server's own tree. */
export interface Tree {
  [key: string]: unknown;
}

interface Manifest {
  contributes: { configuration: [unknown, { properties: Record<string, { scope?: string }> }] };
}

/**
 * The names of the server's settings, without the section: those that the person alone may set, and all others; of the
 * others, a workspace can only lower some.
 */
export interface SettingNames {
  trusted: string[];
  others: string[];
  lowered: string[];
}

export function settingNames(context: ExtensionContext): SettingNames {
  const manifest: Manifest = context.extension.packageJSON;
  const properties = Object.entries(manifest.contributes.configuration[1].properties);
  const names = (isWanted: (scope?: string) => boolean): string[] =>
    properties.filter(([, { scope }]) => isWanted(scope)).map(([key]) => key.slice(SECTION.length + 1));
  return {
    trusted: names((scope) => scope === 'machine'),
    others: names((scope) => scope !== 'machine'),
    lowered: names((scope) => scope === 'machine-overridable'),
  };
}

/** What the person's own settings say of `names`; what a workspace says of them does not count. */
export function personalSettings(names: string[]): Tree {
  const configuration = workspace.getConfiguration(SECTION);
  return tree(names.map((name) => [name, configuration.inspect(name)?.globalValue]));
}

/** Those of `names` that the person set. */
export function personalNames(names: string[]): string[] {
  const configuration = workspace.getConfiguration(SECTION);
  return names.filter((name) => configuration.inspect(name)?.globalValue !== undefined);
}

/** What anybody set of `names`, the workspace before the person. */
export function workspaceSettings(names: string[], scope: Uri | null): Tree {
  const configuration = workspace.getConfiguration(SECTION, scope);
  return tree(
    names.map((name) => {
      const found = configuration.inspect(name);
      const isSet = [found?.globalValue, found?.workspaceValue, found?.workspaceFolderValue].some((v) => v !== undefined);
      return [name, isSet ? configuration.get(name) : undefined];
    }),
  );
}

/** The program of the server, if the person set it. */
export function serverPath(): string {
  return workspace.getConfiguration(SECTION).inspect<string>('server.path')?.globalValue ?? '';
}

function tree(values: [string, unknown][]): Tree {
  const root: Tree = {};
  for (const [name, value] of values) {
    if (value !== undefined) {
      const parts = name.split('.');
      const last = parts.pop() ?? '';
      let group = root;
      for (const part of parts) {
        group = (group[part] ??= {}) as Tree;
      }
      group[last] = value;
    }
  }
  return root;
}
