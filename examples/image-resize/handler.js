/**
 * image-resize: makes an image smaller (PNG, JPEG, WebP, AVIF or GIF in; the same format out, or what ?format= says).
 *
 *   curl 'localhost:8080/fn/image-resize?width=100' -H 'content-type: image/png' --data-binary @photo.png -o small.png
 *
 * Shows: a real dependency with native code, binary bodies both ways, and the `fetch` form for full control of the
 * answer. It is CPU-bound, hence `concurrency: 1` in its manifest.
 */
import sharp from 'sharp';

const DEFAULT_WIDTH = 200;
const MAX_WIDTH = 4_096;
const FORMATS = ['png', 'jpeg', 'webp'];
/** A small file may unpack to gigabytes of pixels: this bounds what one request can cost. */
const MAX_PIXELS = 50_000_000;

sharp.concurrency(1);
sharp.cache(false);

/** A request that is wrong is this function's own answer, with a status of its own. */
const refuse = (status, error) => Response.json({ error }, { status });

export const fetch = async (request) => {
  if (request.method !== 'POST' && request.method !== 'PUT') return refuse(405, 'POST an image');
  const query = new URL(request.url).searchParams;
  const width = Number(query.get('width') ?? DEFAULT_WIDTH);
  if (!Number.isInteger(width) || width < 1 || width > MAX_WIDTH) {
    return refuse(400, `width must be a whole number from 1 to ${MAX_WIDTH}`);
  }
  const wanted = query.get('format');
  if (wanted !== null && !FORMATS.includes(wanted)) {
    return refuse(400, `format must be one of ${FORMATS.join(', ')}`);
  }
  try {
    const source = sharp(await request.bytes(), { limitInputPixels: MAX_PIXELS });
    const { format } = await source.metadata();
    const target = wanted ?? (FORMATS.includes(format) ? format : 'png');
    const { data, info } = await source
      .rotate() // as the camera was held
      .resize({ width, withoutEnlargement: true })
      .toFormat(target)
      .toBuffer({ resolveWithObject: true });
    return new Response(data, {
      headers: {
        'content-type': `image/${info.format}`,
        'x-image-size': `${info.width}x${info.height}`,
      },
    });
  } catch (error) {
    return refuse(422, `not an image that can be read: ${error.message}`);
  }
};
