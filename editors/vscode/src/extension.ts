import { type ChildProcess, spawn } from "node:child_process";
import { homedir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import * as vscode from "vscode";
import { CloseAction, LanguageClient, type LanguageClientOptions } from "vscode-languageclient/node";
import { expand, failed, find, INSTALL, missing } from "./command";
import { looksLikeNetwork } from "./network";

/** Milliseconds to wait for what a server that failed to start writes about it. */
const LAST_WORDS = 2000;

/** A client that only logs what goes wrong while it starts: the session has one message for all of it. */
class Client extends LanguageClient {
  started = false;

  constructor(start: () => Promise<ChildProcess>, options: LanguageClientOptions) {
    super("netspec", "netspec", start, options);
    const usual = this.createDefaultErrorHandler();
    this.clientOptions.errorHandler = {
      error: (...found) => usual.error(...found),
      closed: () => (this.started ? usual.closed() : { action: CloseAction.DoNotRestart, handled: true }),
    };
  }

  override error(message: string, data?: unknown, show?: boolean | "force"): void {
    super.error(message, data, this.started && show);
  }
}

/** The process of a language server, and what it writes to standard error. */
class Server {
  errors = "";
  private ended: Promise<void> = Promise.resolve();

  constructor(
    private readonly program: string,
    private readonly rest: readonly string[],
    private readonly folder: string | undefined,
  ) {}

  start(): Promise<ChildProcess> {
    // Node starts no .cmd and .bat files without a shell.
    const shell = /\.(cmd|bat)$/i.test(this.program);
    const program = shell ? `"${this.program}"` : this.program;
    const running = spawn(program, this.rest, { cwd: this.folder, shell });
    this.ended = new Promise((resolve) => {
      running.once("close", () => {
        resolve();
      });
    });
    running.on("error", (error) => {
      this.errors += String(error);
    });
    running.stderr.on("data", (data: Buffer) => {
      this.errors = (this.errors + data.toString()).slice(-10_000);
    });
    return Promise.resolve(running);
  }

  async lastWords(): Promise<string> {
    await Promise.race([this.ended, sleep(LAST_WORDS)]);
    return this.errors;
  }
}

/** The language server of one window: started for the first network that is opened, and not before. */
class Session {
  private client: Client | undefined;
  /** One start or stop at a time; without a network none has been asked for. */
  private work: Promise<void> | undefined;

  constructor(
    private readonly output: vscode.LogOutputChannel,
    private readonly watcher: vscode.FileSystemWatcher,
  ) {}

  /** Start if this is a network and nothing was started before. */
  startFor(document: vscode.TextDocument): void {
    if (this.work !== undefined || document.languageId !== "yaml") return;
    if (looksLikeNetwork(document.getText())) void this.restart();
  }

  restart(): Promise<void> {
    const before = this.work ?? Promise.resolve();
    this.work = before
      .then(() => this.end())
      .then(() => this.begin())
      .catch((error: unknown) => {
        this.complain(String(error)); // and the next restart is tried as if nothing had been
      });
    return this.work;
  }

  async stop(): Promise<void> {
    await this.work;
    await this.end();
  }

  private async end(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    // A client that did not start, or whose server has died, refuses to stop.
    await client?.dispose().catch((error: unknown) => {
      this.output.warn(String(error));
    });
  }

  private async begin(): Promise<void> {
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
    const set = vscode.workspace.getConfiguration("netspec").get<string[]>("command", []);
    const [program = "netspec", ...rest] = expand(set, folder, homedir());
    const found = await find(program, process.env);
    if (found === undefined) {
      this.complain(missing(program));
      return;
    }
    const server = new Server(found, rest, folder);
    const client = new Client(() => server.start(), this.options());
    this.client = client;
    try {
      await client.start();
      client.started = true;
    } catch {
      const errors = await server.lastWords();
      await this.end();
      this.complain(failed([program, ...rest], errors));
    }
  }

  private options(): LanguageClientOptions {
    return {
      documentSelector: [
        { scheme: "file", language: "yaml" },
        { scheme: "untitled", language: "yaml" },
      ],
      outputChannel: this.output,
      initializationOptions: () => vscode.workspace.getConfiguration("netspec"),
      initializationFailedHandler: () => false,
      synchronize: {
        configurationSection: "netspec",
        // Blocks that a network includes may change without being open.
        fileEvents: this.watcher,
      },
    };
  }

  private complain(message: string): void {
    this.output.error(message);
    const [settings, copy, log] = ["Open Settings", "Copy Install Command", "Show Log"];
    // Not awaited: it stays until it is answered, and a restart must not wait for that.
    void vscode.window.showErrorMessage(message, settings, copy, log).then(async (answer) => {
      if (answer === settings) {
        await vscode.commands.executeCommand("workbench.action.openSettings", "netspec.command");
      } else if (answer === copy) {
        await vscode.env.clipboard.writeText(INSTALL);
      } else if (answer === log) {
        this.output.show();
      }
    });
  }
}

let session: Session | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const output = vscode.window.createOutputChannel("netspec", { log: true });
  const watcher = vscode.workspace.createFileSystemWatcher("**/*.{yaml,yml}");
  const current = new Session(output, watcher);
  session = current;
  context.subscriptions.push(
    output,
    watcher,
    vscode.commands.registerCommand("netspec.restart", () => current.restart()),
    vscode.workspace.onDidOpenTextDocument((document) => {
      current.startFor(document);
    }),
    vscode.workspace.onDidChangeTextDocument((event) => {
      current.startFor(event.document);
    }),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("netspec.command")) void current.restart();
    }),
  );
  for (const document of vscode.workspace.textDocuments) current.startFor(document);
}

export async function deactivate(): Promise<void> {
  await session?.stop();
}
