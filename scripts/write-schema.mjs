// Writes config/knockd-nft.schema.json from the table of keys; build first.
import { writeFileSync } from 'node:fs';
import { configSchema } from '../build/src/config/schema.js';

const file = new URL('../config/knockd-nft.schema.json', import.meta.url);
writeFileSync(file, `${JSON.stringify(configSchema(), null, 2)}\n`);
