using System;
using System.Collections.Generic;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Kinestream
{
    /// <summary>
    /// The fields of a message in their order on the wire: the same calls read them and write them, so that the two
    /// cannot differ. Numbers are little-endian whatever the machine. Every check that fails is a WireException.
    /// </summary>
    internal sealed class Fields
    {
        private readonly byte[] data;
        private readonly int end;
        private readonly List<byte> written;
        private int at;

        private Fields(byte[] data, int start, int end, List<byte> written)
        {
            this.data = data;
            this.at = start;
            this.end = end;
            this.written = written;
        }

        internal static Fields Reading(byte[] data, int start, int end)
        {
            return new Fields(data, start, end, null);
        }

        internal static Fields Writing(List<byte> written)
        {
            return new Fields(null, 0, 0, written);
        }

        internal void U16(ref ushort value)
        {
            value = (ushort)Bits(value, 2);
        }

        internal void U32(ref uint value)
        {
            value = (uint)Bits(value, 4);
        }

        internal void U64(ref ulong value)
        {
            value = Bits(value, 8);
        }

        /// <summary>Zero when written, ignored when read.</summary>
        internal void Reserved(int bytes)
        {
            Bits(0, bytes);
        }

        /// <summary>A number that may be NaN or infinite. All NaN are written alike: runtimes differ in their sign.</summary>
        internal void AnyF32(ref float value)
        {
            value = ToSingle((uint)Bits(float.IsNaN(value) ? 0x7FC00000 : ToBits(value), 4));
        }

        /// <summary>A number that may be NaN or infinite, as AnyF32.</summary>
        internal void AnyF64(ref double value)
        {
            long bits = double.IsNaN(value) ? 0x7FF8000000000000 : BitConverter.DoubleToInt64Bits(value);
            value = BitConverter.Int64BitsToDouble((long)Bits((ulong)bits, 8));
        }

        internal void F32(string name, ref float value)
        {
            AnyF32(ref value);
            Finite(name, value);
        }

        internal void F64(string name, ref double value)
        {
            AnyF64(ref value);
            Finite(name, value);
        }

        /// <summary>A count of at least one, for arrays of as many numbers.</summary>
        internal int Count(string name, int length, int limit)
        {
            uint count = (uint)length;
            U32(ref count);
            InRange(name, count, 1, limit);
            return (int)count;
        }

        internal void F32Array(string name, ref float[] values, int count)
        {
            Room(ref values, count, 4);
            for (int i = 0; i < count; i++)
            {
                AnyF32(ref values[i]);
                if (float.IsNaN(values[i]) || float.IsInfinity(values[i]))
                {
                    Finite(name + "[" + i + "]", values[i]);
                }
            }
        }

        internal void F64Array(string name, ref double[] values, int count)
        {
            Room(ref values, count, 8);
            for (int i = 0; i < count; i++)
            {
                AnyF64(ref values[i]);
                if (double.IsNaN(values[i]) || double.IsInfinity(values[i]))
                {
                    Finite(name + "[" + i + "]", values[i]);
                }
            }
        }

        internal void U32Array(ref uint[] values, int count)
        {
            Room(ref values, count, 4);
            for (int i = 0; i < count; i++)
            {
                U32(ref values[i]);
            }
        }

        /// <summary>An observation's values, in its element; NaN and infinities are the receiver's to check.</summary>
        internal void Values(ref double[] values, int count, bool isDouble)
        {
            Room(ref values, count, isDouble ? 8 : 4);
            for (int i = 0; i < count; i++)
            {
                if (isDouble)
                {
                    AnyF64(ref values[i]);
                }
                else
                {
                    float single = (float)values[i];
                    AnyF32(ref single);
                    values[i] = single;
                }
            }
        }

        /// <summary>Bytes as they are.</summary>
        internal void Bytes(ref byte[] bytes, int count)
        {
            if (written != null)
            {
                written.AddRange(bytes);
                return;
            }
            if (end - at < count)
            {
                throw new WireException("message of " + end + " bytes is cut short: expected at least " + (at + count));
            }
            bytes = new byte[count];
            Array.Copy(data, at, bytes, 0, count);
            at += count;
        }

        /// <summary>UTF-8 without control characters, with zeros behind.</summary>
        internal void Name(ref string name, int bytes)
        {
            const string Expected = "name: expected 1 to 32 bytes of UTF-8 without control characters";
            byte[] field = new byte[bytes];
            if (written != null)
            {
                byte[] text = Encoding.UTF8.GetBytes(name ?? "");
                if (text.Length > bytes)
                {
                    throw new WireException(Expected);
                }
                text.CopyTo(field, 0);
            }
            for (int i = 0; i < bytes; i++)
            {
                field[i] = (byte)Bits(field[i], 1);
            }
            int length = bytes;
            while (length > 0 && field[length - 1] == 0)
            {
                length--;
            }
            try
            {
                name = new UTF8Encoding(false, true).GetString(field, 0, length);
            }
            catch (ArgumentException)
            {
                throw new WireException(Expected);
            }
            foreach (char letter in name)
            {
                if (char.IsControl(letter))
                {
                    throw new WireException(Expected);
                }
            }
            if (length == 0)
            {
                throw new WireException(Expected);
            }
        }

        /// <summary>Every byte has been read.</summary>
        internal void End()
        {
            if (written == null && at != end)
            {
                throw new WireException("message length: expected " + at + " bytes, found " + end);
            }
        }

        internal static void InRange(string name, double found, double least, double most)
        {
            // Written so that NaN is refused.
            if (!(found >= least && found <= most))
            {
                throw new WireException(
                    name + ": expected " + Text(least) + " to " + Text(most) + ", found " + Text(found));
            }
        }

        internal static void Finite(string name, double found)
        {
            if (double.IsNaN(found) || double.IsInfinity(found))
            {
                throw new WireException(name + ": expected a finite number, found " + Text(found));
            }
        }

        internal static void Size(string name, long expected, long found)
        {
            if (expected != found)
            {
                throw new WireException(name + ": expected " + expected + ", found " + found);
            }
        }

        /// <summary>With a decimal point in every country.</summary>
        internal static string Text(double number)
        {
            return number.ToString(CultureInfo.InvariantCulture);
        }

        private ulong Bits(ulong value, int bytes)
        {
            if (written != null)
            {
                for (int i = 0; i < bytes; i++)
                {
                    written.Add((byte)(value >> (8 * i)));
                }
                return value;
            }
            if (end - at < bytes)
            {
                throw new WireException("message of " + end + " bytes is cut short: expected at least " + (at + bytes));
            }
            ulong read = 0;
            for (int i = 0; i < bytes; i++)
            {
                read |= (ulong)data[at + i] << (8 * i);
            }
            at += bytes;
            return read;
        }

        /// <summary>Makes room for what is read, after a look whether so many bytes are there at all.</summary>
        private void Room<T>(ref T[] values, int count, int bytes)
        {
            if (written != null)
            {
                Size("count of values", count, values == null ? 0 : values.Length);
                return;
            }
            long needed = at + (long)count * bytes;
            if (needed > end)
            {
                throw new WireException("message length: expected at least " + needed + " bytes, found " + end);
            }
            values = new T[count];
        }

        [StructLayout(LayoutKind.Explicit)]
        private struct SingleBits
        {
            [FieldOffset(0)]
            internal float Value;
            [FieldOffset(0)]
            internal uint Bits;
        }

        private static uint ToBits(float value)
        {
            SingleBits union = default(SingleBits);
            union.Value = value;
            return union.Bits;
        }

        private static float ToSingle(uint bits)
        {
            SingleBits union = default(SingleBits);
            union.Bits = bits;
            return union.Value;
        }
    }
}
