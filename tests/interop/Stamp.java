// A time-stamping authority of BouncyCastle's, for SM2 with SM3, and nothing of ours.
// Usage: java -cp … Stamp.java KEY CERTIFICATE QUERY RESPONSE. Answers a TimeStampReq of RFC 3161.

import java.io.FileInputStream;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Date;
import java.util.List;
import java.util.Set;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.gm.GMObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.SignerInfoGenerator;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.TimeStampRequest;
import org.bouncycastle.tsp.TimeStampResponseGenerator;
import org.bouncycastle.tsp.TimeStampTokenGenerator;

public class Stamp {
    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        String pem = Files.readString(Path.of(args[0])).replaceAll("-----[^-]+-----|\\s", "");
        PrivateKey key = KeyFactory.getInstance("EC", "BC")
            .generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
        CertificateFactory factory = CertificateFactory.getInstance("X.509", "BC");
        X509Certificate certificate = (X509Certificate) factory.generateCertificate(new FileInputStream(args[1]));

        DigestCalculatorProvider digests = new JcaDigestCalculatorProviderBuilder().setProvider("BC").build();
        SignerInfoGenerator signer = new JcaSignerInfoGeneratorBuilder(digests)
            .build(new JcaContentSignerBuilder("SM3withSM2").setProvider("BC").build(key), certificate);
        TimeStampTokenGenerator tokens = new TimeStampTokenGenerator(
            signer, digests.get(new AlgorithmIdentifier(GMObjectIdentifiers.sm3)), new ASN1ObjectIdentifier("1.2.156.10197.6.9"));
        tokens.addCertificates(new JcaCertStore(List.of(certificate)));
        TimeStampRequest request = new TimeStampRequest(Files.readAllBytes(Path.of(args[2])));
        TimeStampResponseGenerator responses =
            new TimeStampResponseGenerator(tokens, Set.of(GMObjectIdentifiers.sm3.getId()));
        byte[] response = responses.generate(request, BigInteger.valueOf(77), new Date()).getEncoded();
        Files.write(Path.of(args[3]), response);
    }
}
