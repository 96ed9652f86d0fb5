import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import * as path from "node:path";

export const INSTALL = 'pip install "netspec-runner[lsp]"';

/** The command as set, with `${workspaceFolder}` and a leading `~` replaced. */
export function expand(command: readonly string[], folder: string | undefined, home: string): string[] {
  return command.map((part) => {
    const inFolder = folder === undefined ? part : part.replaceAll(`\${workspaceFolder}`, folder);
    return /^~(?=$|[\\/])/.test(inFolder) ? home + inFolder.slice(1) : inFolder;
  });
}

/** Where a program is: itself if it is a path, otherwise the first of its name on PATH. */
export async function find(
  program: string,
  environment: NodeJS.ProcessEnv,
  platform: string = process.platform,
): Promise<string | undefined> {
  const windows = platform === "win32";
  const endings = windows ? ["", ...(environment.PATHEXT ?? ".EXE;.CMD;.BAT").split(";")] : [""];
  // Windows writes it `Path`.
  const search = environment.PATH ?? environment.Path ?? "";
  const isPath = program.includes("/") || (windows && program.includes("\\"));
  const folders = isPath ? [""] : search.split(windows ? ";" : ":").filter((folder) => folder !== "");
  for (const folder of folders) {
    for (const ending of endings) {
      const candidate = path.join(folder, program + ending);
      if (await isProgram(candidate)) return candidate;
    }
  }
  return undefined;
}

async function isProgram(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/** What the user reads when the program is not there. */
export function missing(program: string): string {
  return (
    `The netspec language server could not be started: there is no program ${program}. ` +
    `Install it with ${INSTALL}, or set netspec.command to where it is.`
  );
}

/** What the user reads when the program ended at once; `output` is what it wrote to standard error. */
export function failed(command: readonly string[], output: string): string {
  const lines = output.split(/\r?\n/).filter((line) => line.trim() !== "");
  const reason = lines.at(-1) ?? "it said nothing";
  return `The netspec language server could not be started (${command.join(" ")}): ${reason}`;
}
