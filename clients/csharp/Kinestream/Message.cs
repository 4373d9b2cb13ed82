using System;
using System.Collections.Generic;

namespace Kinestream
{
    /// <summary>Bytes that are no message, or a message that the format cannot hold; says what was expected and found.</summary>
    public sealed class WireException : Exception
    {
        public WireException(string problem)
            : base(problem)
        {
        }
    }

    /// <summary>When and as what in its stream a message was made.</summary>
    public struct Stamp
    {
        /// <summary>Number of the message in its topic, from 1; 0: not numbered.</summary>
        public ulong Sequence;
        /// <summary>ns, the sender's monotonic clock, or simulated time.</summary>
        public ulong MonotonicNs;
        /// <summary>ns since 1970-01-01 UTC; 0: not known.</summary>
        public ulong WallNs;
        /// <summary>Stream or episode.</summary>
        public uint Stream;
    }

    /// <summary>A message of kinestream's wire format, version 1 (docs/WIRE.md).</summary>
    public abstract class Message
    {
        /// <summary>Longest message, bytes.</summary>
        public const int MaxBytes = 524368;

        private const uint Magic = 0x54534E4B;
        private const ushort Version = 1;
        private const int HeaderBytes = 40;

        public Stamp Stamp;

        internal abstract ushort Kind { get; }

        internal abstract void Pass(Fields fields);

        /// <summary>The message that these bytes hold. Throws WireException, and nothing else, if they hold none.</summary>
        public static Message Decode(byte[] data)
        {
            return Decode(data, data.Length);
        }

        /// <summary>The message that the first `length` bytes hold.</summary>
        public static Message Decode(byte[] data, int length)
        {
            Fields fields = Fields.Reading(data, 0, length);
            if (length < HeaderBytes)
            {
                throw new WireException("message of " + length + " bytes is cut short: expected at least " + HeaderBytes);
            }
            uint magic = 0;
            ushort version = 0;
            ushort kind = 0;
            fields.U32(ref magic);
            if (magic != Magic)
            {
                throw new WireException("magic: expected KNST, found other bytes; the sender is not kinestream");
            }
            fields.U16(ref version);
            if (version != Version)
            {
                throw new WireException(
                    "version: expected 1, found " + version + "; bring sender and receiver to the same release");
            }
            fields.U16(ref kind);
            Message message = OfKind(kind);
            uint body = 0;
            message.PassStamp(fields, ref body);
            if (length != HeaderBytes + (long)body || length > MaxBytes + (message is Image ? Image.MaxDataBytes : 0))
            {
                throw new WireException(
                    "message length: expected " + (HeaderBytes + (long)body) + " bytes, found " + length);
            }
            message.Pass(fields);
            fields.End();
            return message;
        }

        /// <summary>The bytes of this message. Throws WireException if the format cannot hold it.</summary>
        public byte[] Encode()
        {
            List<byte> bytes = new List<byte>(HeaderBytes);
            Fields fields = Fields.Writing(bytes);
            uint magic = Magic;
            ushort version = Version;
            ushort kind = Kind;
            uint body = 0;
            fields.U32(ref magic);
            fields.U16(ref version);
            fields.U16(ref kind);
            PassStamp(fields, ref body);
            Pass(fields);
            body = (uint)(bytes.Count - HeaderBytes);
            for (int i = 0; i < 4; i++)
            {
                bytes[HeaderBytes - 4 + i] = (byte)(body >> (8 * i));
            }
            return bytes.ToArray();
        }

        private void PassStamp(Fields fields, ref uint body)
        {
            fields.U64(ref Stamp.Sequence);
            fields.U64(ref Stamp.MonotonicNs);
            fields.U64(ref Stamp.WallNs);
            fields.U32(ref Stamp.Stream);
            fields.U32(ref body);
        }

        private static Message OfKind(ushort kind)
        {
            switch (kind)
            {
                case 1: return new Observation();
                case 2: return new Action();
                case 3: return new Plan();
                case 4: return new Status();
                case 5: return new Command();
                case 6: return new Pose();
                case 7: return new Control();
                case 8: return new Image();
                default: throw new WireException("kind: expected 1 to 8, found " + kind);
            }
        }
    }
}
