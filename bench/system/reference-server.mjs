// The reference R: uWebSockets.js and msgpackr, nothing else. Decodes a request and encodes an answer of the same shape and size
// as `tween.storage.get` gives. Prints its port.
import uws from 'uWebSockets.js';
import { Packr } from 'msgpackr';

const packr = new Packr({ useRecords: false, mapsAsObjects: true });
const result = {
  key: 'bench',
  value: 'v'.repeat(64),
  created_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-01-01T00:00:00.000Z',
  version: 1,
  metadata: { size_bytes: 64 },
};

uws
  .App()
  .ws('/v1/live', {
    message(ws, message) {
      const { id } = packr.unpack(Buffer.from(message.slice(0)));
      ws.send(packr.pack({ id, result }), true);
    },
  })
  .listen('127.0.0.1', 0, (socket) => {
    console.log(uws.us_socket_local_port(socket));
  });
