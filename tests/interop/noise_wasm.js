// Sealed sessions in IK between C (tests/seal_driver) and npm's noise-c.wasm, in both roles and modes:
// noise_wasm.js DRIVER. What lintel adds to Noise is written here once more, from proto/sealed.md.
// Exit 77 where the package is not installed; NODE_PATH says where to look.
'use strict';

const crypto = require('crypto');
const { spawn } = require('child_process');
const readline = require('readline');

let createNoise;
try {
    createNoise = require('noise-c.wasm');
} catch (missing) {
    console.log('the package noise-c.wasm is missing');
    process.exit(77);
}

const NAME = 'Noise_IK_25519_ChaChaPoly_SHA256';
const HELLO = 1, SEALED = 5;
const MODES = { mac: 1, encrypt: 2 };

function frame(type, id, payload) {
    const header = Buffer.from([0x4c, 0x54, 1, 8, 0, 0, 0, type, 0, 0, 0, id, 0, 0, 0, 0]);
    header.writeUInt32BE(payload.length, 12);
    return Buffer.concat([header, payload]);
}

function pair() {
    const keys = crypto.generateKeyPairSync('x25519');
    const raw = (key, name) => Buffer.from(key.export({ format: 'jwk' })[name], 'base64url');
    return { secret: raw(keys.privateKey, 'd'), public: raw(keys.publicKey, 'x') };
}

// The C side: a line in, a line out.
class Driver {
    constructor(program) {
        this.process = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] });
        this.lines = readline.createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
    }
    tell(line) {
        this.process.stdin.write(line + '\n');
    }
    async step(line) {
        this.tell(line);
        return (await this.lines.next()).value.split(' ');
    }
    close() {
        this.process.stdin.end();
    }
}

function check(condition, what) {
    if (!condition)
        throw new Error(what);
}

const hex = (bytes) => Buffer.from(bytes).toString('hex') || '-';
const last = (words) => Buffer.from(words[words.length - 1], 'hex');

function seal(cipher, mode, piece, isLast) {
    const header = frame(SEALED, isLast ? 1 : 0, Buffer.alloc(piece.length + 16)).subarray(0, 16);
    if (mode === 'encrypt')
        return Buffer.concat([header, Buffer.from(cipher.EncryptWithAd(header, piece))]);
    const data = Buffer.concat([header, piece]);
    return Buffer.concat([data, Buffer.from(cipher.EncryptWithAd(data, Buffer.alloc(0)))]);
}

function open(cipher, mode, wire) {
    if (mode === 'encrypt')
        return Buffer.from(cipher.DecryptWithAd(wire.subarray(0, 16), wire.subarray(16)));
    const at = wire.length - 16;
    check(cipher.DecryptWithAd(wire.subarray(0, at), wire.subarray(at)).length === 0, 'a tag alone');
    return wire.subarray(16, at);
}

async function session(noise, program, initiates, mode) {
    const them = initiates ? 'responder' : 'initiator';
    const c = pair(), own = pair();
    const choice = Buffer.from([2, 1, MODES[mode]]);
    const prologue = Buffer.concat([Buffer.from('lintel/1'), choice]);
    const driver = new Driver(program);
    const state = noise.HandshakeState(
        NAME, initiates ? noise.constants.NOISE_ROLE_INITIATOR : noise.constants.NOISE_ROLE_RESPONDER);

    driver.tell('mode ' + mode);
    driver.tell(`${them} key ${hex(c.secret)}`);
    driver.tell(`${them} peer ${hex(own.public)} wasm`);
    state.Initialize(prologue, own.secret, initiates ? c.public : null);
    const writes = () => driver.step(`${them} writes hello ${crypto.randomBytes(32).toString('hex')}`);
    const takes = async (wire, kind) => {
        const words = await driver.step(`${them} takes ${hex(wire)} ${kind}`);
        check(words[3] === kind, 'C says: ' + words.slice(3).join(' '));
        return words;
    };
    if (initiates) {
        await takes(frame(HELLO, 0, Buffer.concat([choice, Buffer.from(state.WriteMessage())])), 'hello');
        state.ReadMessage(last(await writes()).subarray(16));
    } else {
        state.ReadMessage(last(await writes()).subarray(19));
        await takes(frame(HELLO, 0, Buffer.from(state.WriteMessage())), 'hello');
    }
    const id = hex(state.GetHandshakeHash());
    const [send, receive] = state.Split();
    const up = async (piece, isLast) => {
        const words = await takes(seal(send, mode, piece, isLast), isLast ? 'last' : 'record');
        check(words[4] === hex(piece), 'C opens ' + words[4]);
    };
    const down = async (piece, isLast) => {
        const words = await driver.step(`${them} writes ${isLast ? 'last' : 'record'} ${hex(piece)}`);
        check(open(receive, mode, last(words)).equals(piece), 'a record of C opens to something else');
    };
    await (initiates ? up : down)(Buffer.alloc(0), false);
    for (const size of [1, 16, 63, 1000, 65519]) {
        await up(crypto.randomBytes(size), false);
        await down(crypto.randomBytes(size), false);
    }
    await down(Buffer.from('the end'), true);
    await up(Buffer.alloc(0), true);
    check((await driver.step(`${them} id`))[2] === id, 'the ids differ');
    check((await driver.step(`${them} named`))[2] === 'wasm', 'another name');
    driver.close();
}

createNoise(async function (noise) {
    try {
        for (const mode of ['mac', 'encrypt'])
            for (const initiates of [true, false])
                await session(noise, process.argv[2], initiates, mode);
        console.log('4 sessions between noise-c.wasm and C');
    } catch (wrong) {
        console.log('FAIL: ' + wrong);
        process.exit(1);
    }
});
