/**
 * What the public port says of itself: the OpenAPI document, a page that shows it, and the page that problem documents point to.
 * Everything comes from this process: no other server is needed to read it.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openApiDocument } from '@simmer/protocol/api/openapi';
import { ERRORS } from '@simmer/protocol/errors';

export interface Page {
  readonly contentType: string;
  readonly body: string;
}

const HTML = 'text/html; charset=utf-8';

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simmer API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({ url: 'openapi.json', dom_id: '#ui', deepLinking: true, validatorUrl: null });
</script>
</body>
</html>
`;

function errorsPage(): string {
  const sections = Object.entries(ERRORS).map(
    ([code, { status, title, help }]) =>
      `<h2 id="${code}"><a href="#${code}">${code}</a></h2>\n<p>${status} · ${escaped(title)}</p>\n<p>${withCode(help)}</p>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simmer errors</title>
<link rel="icon" href="data:,">
<style>
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
h2 { margin: 2rem 0 0; font: 600 1.1rem ui-monospace, monospace; }
h2 a { color: inherit; text-decoration: none; }
h2:target { background: #fff3bf; }
p { margin: .25rem 0; }
code { background: #f1f3f5; padding: 0 .2em; }
</style>
</head>
<body>
<h1>Errors</h1>
<p>An answer that is not a success is a problem document (RFC 9457) with one of these codes.</p>
${sections.join('\n')}
</body>
</html>
`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Backquotes as in Markdown. */
function withCode(text: string): string {
  return escaped(text).replace(/`([^`]+)`/g, '<code>$1</code>');
}

/** Of the package that shows it. */
function asset(name: string): string {
  return readFileSync(fileURLToPath(import.meta.resolve(`swagger-ui-dist/${name}`)), 'utf8');
}

export class Documentation {
  /** Made when first asked for: most control planes never are. */
  private readonly pages: Readonly<Record<string, () => Page>>;
  private readonly made = new Map<string, Page>();

  constructor(version: string) {
    this.pages = {
      '/openapi.json': () => ({
        contentType: 'application/json',
        body: `${JSON.stringify(openApiDocument(version))}\n`,
      }),
      '/docs': () => ({ contentType: HTML, body: PAGE }),
      '/docs/errors': () => ({ contentType: HTML, body: errorsPage() }),
      '/docs/swagger-ui.css': () => ({
        contentType: 'text/css; charset=utf-8',
        body: asset('swagger-ui.css'),
      }),
      '/docs/swagger-ui-bundle.js': () => ({
        contentType: 'text/javascript; charset=utf-8',
        body: asset('swagger-ui-bundle.js'),
      }),
    };
  }

  /** undefined: there is none at this path. */
  page(path: string): Page | undefined {
    const make = Object.hasOwn(this.pages, path) ? this.pages[path] : undefined;
    if (make === undefined) return undefined;
    let page = this.made.get(path);
    if (page === undefined) {
      page = make();
      this.made.set(path, page);
    }
    return page;
  }
}
